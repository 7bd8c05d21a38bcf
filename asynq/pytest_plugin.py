"""Fixtures for users' tests; pytest finds them by itself where this library is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq import MemoryBroker
    from asynq.testing import FakeClock


@pytest.fixture
def asynq_clock() -> FakeClock:
    """The clock of `asynq_broker`: it shows the second after the test began, until the test moves it."""
    from asynq.clock import FakeClock, SystemClock

    # A whole one, as due times are: then a task due in an hour is due when the clock has moved by an hour.
    return FakeClock(SystemClock().now() // 1000 * 1000 + 1000)


@pytest.fixture
def asynq_broker(asynq_clock: FakeClock) -> Iterator[MemoryBroker]:
    """An empty broker in memory, for this test alone."""
    from asynq import MemoryBroker

    broker = MemoryBroker(clock=asynq_clock)
    yield broker
    broker.close()
