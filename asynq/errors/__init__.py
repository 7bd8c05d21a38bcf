"""All errors of this library: one hierarchy with the facts in fields; messages are derived from them.

A broker raises these errors and no others. Each backend translates the errors of its driver in one place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import define

from asynq.errors.base import AsynqError
from asynq.errors.run import (
    HandlerError,
    HandlerNotFoundError,
    HandlerProcessError,
    PayloadError,
    RateLimited,
    ResultError,
    RetryIn,
    RevokeTask,
    SkipRetry,
    TaskCancelledError,
    TaskDeadlineError,
    TaskTimeoutError,
)

if TYPE_CHECKING:
    from asynq.task_state import TaskState

__all__ = [
    "AggregationError",
    "AggregationLostError",
    "AsynqError",
    "BrokerFullError",
    "BrokerRefusedError",
    "BrokerURLError",
    "BrokerUnavailable",
    "DuplicateTaskError",
    "EntryNotFoundError",
    "HandlerError",
    "HandlerNotFoundError",
    "HandlerProcessError",
    "LeaseLostError",
    "NotReplicatedError",
    "PayloadError",
    "PayloadTooLargeError",
    "QueueNotEmptyError",
    "QueueNotFoundError",
    "RateLimited",
    "ResultError",
    "ResultTooLargeError",
    "RetryIn",
    "RevokeTask",
    "ServerStateError",
    "SkipRetry",
    "TaskCancelledError",
    "TaskDeadlineError",
    "TaskFailedError",
    "TaskGoneError",
    "TaskIDConflictError",
    "TaskNotFoundError",
    "TaskStateError",
    "TaskTimeoutError",
    "TooLargeError",
    "UnsupportedOperationError",
]


# --- refusals of a broker: nothing was changed -------------------------------------------------------


@define
class DuplicateTaskError(AsynqError):
    """Another task with the same queue, type and payload or key holds the lock; nothing was enqueued."""

    queue: str
    type: str
    task_id: str = ""
    """Id of the task that holds the lock, if the backend knows it."""

    def __str__(self) -> str:
        holder = f" (held by task {self.task_id!r})" if self.task_id else ""
        return f"a unique task of type {self.type!r} is already in queue {self.queue!r}{holder}"


@define
class TaskIDConflictError(AsynqError):
    """The queue already has a task of this id; nothing was enqueued."""

    queue: str
    task_id: str
    state: TaskState | None = None
    """State of the task that has the id."""

    def __str__(self) -> str:
        state = f" ({self.state.value})" if self.state else ""
        return f"task id {self.task_id!r} is already taken in queue {self.queue!r}{state}"


@define
class QueueNotFoundError(AsynqError):
    """The queue does not exist: no task was ever enqueued to it, or it was deleted."""

    queue: str

    def __str__(self) -> str:
        return f"queue {self.queue!r} does not exist"


@define
class EntryNotFoundError(AsynqError):
    """The scheduler has no entry of this id."""

    entry_id: str

    def __str__(self) -> str:
        return f"there is no entry {self.entry_id!r}"


@define
class QueueNotEmptyError(AsynqError):
    """The queue still holds tasks, so it was not deleted."""

    queue: str
    size: int

    def __str__(self) -> str:
        return f"queue {self.queue!r} still holds {self.size} tasks"


@define
class TaskNotFoundError(AsynqError):
    """The queue has no task of this id."""

    queue: str
    task_id: str

    def __str__(self) -> str:
        return f"queue {self.queue!r} has no task {self.task_id!r}"


@define
class TaskStateError(AsynqError):
    """The task is in a state that does not allow the request; nothing was changed."""

    queue: str
    task_id: str
    state: TaskState
    verb: str
    """What was requested, as a verb: "run", "archive", "delete", ..."""

    def __str__(self) -> str:
        return f"cannot {self.verb} task {self.task_id!r} of queue {self.queue!r}: it is {self.state.value}"


@define
class LeaseLostError(AsynqError):
    """This run no longer owns its task: it was recovered, taken over or deleted. Nothing was changed."""

    queue: str
    task_id: str
    maybe_applied: bool = False
    """True when the reply to an earlier copy of a settlement was lost: that copy most likely took effect."""

    def __str__(self) -> str:
        first = "an earlier copy of the request has most likely ended the run"
        owner = first if self.maybe_applied else "another run may own it"
        return f"the lease on task {self.task_id!r} of queue {self.queue!r} is lost: {owner}"


@define
class AggregationLostError(AsynqError):
    """Tasks taken for aggregation are no longer held: they are back in their group or already aggregated.

    Nothing was changed.
    """

    queue: str
    group: str

    def __str__(self) -> str:
        return f"tasks taken from group {self.group!r} of queue {self.queue!r} are no longer held"


@define
class AggregationError(AsynqError):
    """The tasks of a group could not be aggregated and are back in it. Its cause is the reason."""

    queue: str
    group: str
    size: int
    """Number of tasks."""
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.size} tasks of group {self.group!r} of queue {self.queue!r} not aggregated: {self.reason}"
        )


@define
class TooLargeError(AsynqError):
    """A value is larger than the broker stores; nothing was changed unless `maybe_applied` is true.

    Store large data elsewhere and send a reference, or raise the broker's `max_value_bytes` and, where it is
    lower, the limit of the server.
    """

    what: ClassVar[str] = "payload"
    queue: str
    task_id: str
    size: int
    """Bytes."""
    limit: int
    """The most bytes that the broker stores; 0 if the server does not state its limit."""
    maybe_applied: bool = False
    """True when the server closed the connection instead of answering: it most likely stored nothing."""

    def __str__(self) -> str:
        limit = f"the limit is {self.limit}" if self.limit else "the server takes no request of that size"
        what = f"the {self.what} of task {self.task_id!r} of queue {self.queue!r}"
        return f"{what} is not stored: it has {self.size} bytes, and {limit}"


@define
class PayloadTooLargeError(TooLargeError):
    """A task's payload, together with its headers, is larger than the broker stores."""


@define
class UnsupportedOperationError(AsynqError):
    """The backend does not support this operation, as its capabilities state."""

    operation: str
    backend: str

    def __str__(self) -> str:
        return f"the {self.backend} broker does not support {self.operation}"


# --- failures of the broker itself --------------------------------------------------------------------


@define
class BrokerUnavailable(AsynqError):  # noqa: N818 - the public name, fixed by the API
    """The broker could not be reached, or its reply was lost."""

    reason: str
    maybe_applied: bool = False
    """True when the request had been sent: it may or may not have taken effect."""

    def __str__(self) -> str:
        unknown = "; the request may have taken effect" if self.maybe_applied else ""
        return f"the broker is unavailable: {self.reason}{unknown}"


@define
class BrokerFullError(AsynqError):
    """The broker is out of memory or disk space; nothing was changed.

    Whether workers can still drain its queues depends on the store: see the page on guarantees.
    """

    reason: str

    def __str__(self) -> str:
        return f"the broker is full: {self.reason}"


@define
class BrokerRefusedError(AsynqError):
    """The broker answered and refused: bad credentials, missing rights, unsupported version, bad setting."""

    reason: str
    final: bool = False
    """True when the operation itself is at fault, so that sending it again cannot help."""

    def __str__(self) -> str:
        return f"the broker refused: {self.reason}"


@define
class NotReplicatedError(AsynqError):
    """Too few replicas confirmed the write in time. The write may or may not survive a failover."""

    wanted: int
    confirmed: int

    def __str__(self) -> str:
        return (
            f"{self.confirmed} of {self.wanted} replicas confirmed the write in time: it may or may not "
            "survive a failover; the same task id may be enqueued again safely"
        )


@define
class BrokerURLError(AsynqError, ValueError):
    """The broker URL is invalid; no connection was made."""

    url: str
    """The URL with its secrets masked."""
    reason: str

    def __str__(self) -> str:
        return f"cannot read the broker URL {self.url!r}: {self.reason}"


# --- results and servers -------------------------------------------------------------------------------


@define
class ResultTooLargeError(TooLargeError, SkipRetry):
    """A result is larger than the broker stores; running the handler again cannot help."""

    what: ClassVar[str] = "result"


@define
class TaskFailedError(AsynqError):
    """The task that a client waited for ended without a result."""

    queue: str
    task_id: str
    error: str
    """The last error of the task."""

    def __str__(self) -> str:
        return f"task {self.task_id!r} of queue {self.queue!r} failed: {self.error}"


@define
class TaskGoneError(TaskNotFoundError):
    """The task that a client waited for no longer exists, so its result can never be known."""

    def __str__(self) -> str:
        return (
            f"task {self.task_id!r} of queue {self.queue!r} is gone: it was deleted, revoked or aggregated, "
            "its retention is over, or it was never in this queue"
        )


@define
class ServerStateError(AsynqError):
    """The state of a server or scheduler does not allow the request, such as to start it twice."""

    state: str
    verb: str
    what: str = "server"

    def __str__(self) -> str:
        return f"cannot {self.verb} the {self.what}: it is {self.state}"
