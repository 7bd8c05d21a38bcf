"""Pytest fixtures for users' tests; loaded by pytest where asynq is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq import MemoryBroker
    from asynq.testing import FakeClock


@pytest.fixture
def asynq_clock() -> FakeClock:
    """The clock of `asynq_broker`: starts at the next whole second and moves only when the test moves it."""
    from asynq.clock import FakeClock, SystemClock

    # Due times are whole seconds: so a task due in an hour is due when the clock has moved by an hour.
    return FakeClock(SystemClock().now() // 1000 * 1000 + 1000)


@pytest.fixture
def asynq_broker(asynq_clock: FakeClock) -> Iterator[MemoryBroker]:
    """An empty in-memory broker for one test."""
    from asynq import MemoryBroker

    broker = MemoryBroker(clock=asynq_clock)
    yield broker
    broker.close()
