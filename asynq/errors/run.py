"""Errors that a run of a task ends with. They are imported from `asynq.errors`, or from `asynq`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from asynq.checks import check_duration
from asynq.errors.base import AsynqError

if TYPE_CHECKING:
    from datetime import timedelta


class SkipRetry(AsynqError):  # noqa: N818 - the public name, fixed by the API
    """Raised by a handler: this failure is final, archive the task without further retries."""


class RevokeTask(AsynqError):  # noqa: N818 - the public name, fixed by the API
    """Raised by a handler: drop the task, neither retry nor archive it."""


@define
class RateLimited(AsynqError):  # noqa: N818 - it is no failure
    """Raised by a handler or a limit: not now. The task is tried again, without a retry spent.

    It does not count as a failure, and `max_retry` does not end it; a deadline that has passed does.
    TypeError or ValueError for a time to wait that is none.
    """

    retry_in: timedelta
    """How long the task waits, at least; rounded up to a whole second."""
    scope: str = ""
    """Name of the limit."""

    def __attrs_post_init__(self) -> None:
        check_duration("retry_in", self.retry_in)

    def __str__(self) -> str:
        limit = f" by {self.scope!r}" if self.scope else ""
        return f"held back{limit} for {self.retry_in.total_seconds():g} s"


@define
class HandlerNotFoundError(AsynqError):
    """No registered pattern matches the task's type."""

    type: str

    def __str__(self) -> str:
        return f"handler not found for task {self.type!r}"


@define
class PayloadError(SkipRetry):
    """The payload cannot be decoded as the type the handler declares; retrying cannot help."""

    type: str
    reason: str

    def __str__(self) -> str:
        return f"the payload of task {self.type!r} cannot be decoded: {self.reason}"


@define
class TaskTimeoutError(AsynqError):
    """The run exceeded its timeout or its deadline."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class TaskDeadlineError(TaskTimeoutError, SkipRetry):
    """The task's absolute deadline has passed; retrying cannot help."""


@define
class ResultError(SkipRetry):
    """The handler returned what cannot be stored as a result, or be decoded by who waits for it.

    Running it again cannot help.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class HandlerError(AsynqError):
    """The handler ended as no handler may: with SystemExit, or cancelled by itself."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class HandlerProcessError(HandlerError):
    """The process a handler ran in ended under it: a crash in native code, no memory left, os._exit."""

    exitcode: int = 0
    """Its exit status; negative: the number of the signal that killed it."""


@define
class TaskCancelledError(AsynqError):
    """The run was told to end: cancelled by an operator, its lease was lost, or its server shuts down."""

    reason: str

    def __str__(self) -> str:
        return f"the task was cancelled: {self.reason}"
