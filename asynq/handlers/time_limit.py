"""When a run must end: the earlier of its task's timeout and deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.client.enqueue import DEFAULT_TIMEOUT
from asynq.errors import TaskDeadlineError, TaskTimeoutError
from asynq.instants import instant_of, seconds_of

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

_DEFAULT_TIMEOUT_SECONDS = seconds_of(DEFAULT_TIMEOUT)
"""Timeout of a run whose task has neither a timeout nor a deadline, as in Go asynq."""


def time_limit(message: TaskMessage, now: int) -> int:
    """When a run that starts now must end. Both are Unix milliseconds."""
    deadline = message.deadline * 1000
    seconds = message.timeout or (0 if deadline else _DEFAULT_TIMEOUT_SECONDS)
    if not seconds:
        return deadline
    limit = now + seconds * 1000
    return min(limit, deadline) if deadline else limit


def time_limit_error(message: TaskMessage, begin: int, limit: int) -> TaskTimeoutError:
    """The error with which a run ends that has reached its limit. If it is the deadline, it is permanent."""
    if message.deadline and limit == message.deadline * 1000:
        return TaskDeadlineError(f"the task's deadline {instant_of(limit).isoformat()} has passed")
    return TaskTimeoutError(f"the task ran longer than its timeout of {(limit - begin) / 1000:.15g} s")
