from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.runtime.thread_calls import CallThreads
from tests.unit.handler_runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def runs() -> Iterator[Runs]:
    """Runs with two threads, which a failing test may leave stuck."""
    threads = CallThreads(2)
    yield Runs(threads)
    threads.close()
