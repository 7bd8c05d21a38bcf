"""Child processes forked by users' functions."""

from __future__ import annotations

import os
import sys
from random import Random

import pytest

from asynq.handlers.outcome import Failed, decide
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.ops import Retry
from tests.unit.handler_runs import delivery


@pytest.mark.parametrize("status", [0, 7])
def test_a_forked_child_ends_when_it_returns_from_a_callback(status: int) -> None:
    """If it continued, it would be a second server on the same connections."""
    parent, statuses = os.getpid(), list[int]()

    def fork() -> None:
        child = os.fork()
        if child:
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        elif status:
            sys.exit(status)

    def delay(retried: int, error: Exception, task: object) -> float:
        fork()
        return 3

    def is_failure(error: Exception) -> bool:
        fork()
        return False

    rules = RetryPolicy(rng=Random(1), delay=delay, is_failure=is_failure)
    try:
        op = decide(delivery(max_retry=3), Failed(ValueError("boom")), rules, 0)
    finally:
        if os.getpid() != parent:
            os._exit(99)
    assert isinstance(op, Retry)
    assert (op.delay, op.failure) == (3000, False)
    assert statuses == [status, status]
