"""Errors that end the run of a task. Import them from `asynq.errors` or from `asynq`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from asynq.checks import check_duration
from asynq.errors.base import AsynqError

if TYPE_CHECKING:
    from datetime import timedelta


class SkipRetry(AsynqError):  # noqa: N818 - the public name, fixed by the API
    """Raised by a handler: the failure is final. The task is archived without further retries."""


class RevokeTask(AsynqError):  # noqa: N818 - the public name, fixed by the API
    """Raised by a handler: delete the task. It is neither retried nor archived."""


@define
class RateLimited(AsynqError):  # noqa: N818 - it is no failure
    """Raised by a handler or a limit: run the task again later, without spending a retry.

    It does not count as a failure. `max_retry` does not end the task, but its deadline does.

    Raises:
        TypeError: `retry_in` is not a timedelta.
        ValueError: `retry_in` is negative or too long.
    """

    retry_in: timedelta
    """How long the task waits at least; rounded up to a whole second."""
    scope: str = ""
    """Name of the limit."""

    def __attrs_post_init__(self) -> None:
        check_duration("retry_in", self.retry_in)

    def __str__(self) -> str:
        limit = f" by {self.scope!r}" if self.scope else ""
        return f"held back{limit} for {self.retry_in.total_seconds():g} s"


@define
class RetryIn(AsynqError):  # noqa: N818 - it is a request
    """Raised by a handler: the run failed, and the task runs again after this time. It counts as a retry.

    If no retries are left, the task is archived. `retry_on` of the handler does not concern it.

    Raises:
        TypeError: `retry_in` is not a timedelta.
        ValueError: `retry_in` is negative or too long.
    """

    retry_in: timedelta
    """How long the task waits at least, in place of the retry delay; rounded up to a whole second."""
    reason: str = ""
    """Text of the error, for logs and `TaskInfo.last_err`."""

    def __attrs_post_init__(self) -> None:
        check_duration("retry_in", self.retry_in)

    def __str__(self) -> str:
        return self.reason or f"the handler asks for a retry in {self.retry_in.total_seconds():g} s"


@define
class HandlerNotFoundError(AsynqError):
    """No registered pattern matches the task's type."""

    type: str

    def __str__(self) -> str:
        return f"handler not found for task {self.type!r}"


@define
class PayloadError(SkipRetry):
    """The payload cannot be decoded as the type that the handler declares; retrying cannot help."""

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
    """The handler returned a value that cannot be stored as a result, or a client cannot decode the result.

    Running the handler again cannot help.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class HandlerError(AsynqError):
    """The handler ended in a way no handler may: it raised SystemExit or cancelled itself."""

    reason: str

    def __str__(self) -> str:
        return self.reason


@define
class HandlerProcessError(HandlerError):
    """The process of a handler ended during the run: a crash in native code, out of memory, os._exit."""

    exitcode: int = 0
    """Exit status of the process; if negative, the number of the signal that killed it."""


@define
class TaskCancelledError(AsynqError):
    """The run was cancelled: by an operator, because its lease was lost, or because its server shuts down."""

    reason: str

    def __str__(self) -> str:
        return f"the task was cancelled: {self.reason}"
