"""`TaskInfo` and `QueueInfo`: the public view of a task and of a queue's statistics."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from attrs import Factory, field, frozen
from msgspec.structs import asdict

from asynq.instants import duration_of, instant_of, instant_or_none
from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.failures import failures_of, without_failures
from asynq.protocol.followers import RESULT_HEADER, followers_of, members_of, own_retention
from asynq.result_types import UNDECLARED, G_co, OfResults, R_co, ResultTypes
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq.protocol.failures import Failure
    from asynq.protocol.followers import Follower
    from asynq.protocol.message import QueueStats, StoredTask, TaskMessage


class _Unread:
    """Holds what a TaskInfo shows, each field until it is read."""

    __slots__ = ("_stored", "_types")
    _stored: StoredTask
    _types: ResultTypes


@frozen(kw_only=True)
class FollowerInfo:
    """A task that is enqueued when another one succeeds."""

    id: str
    """The id that the task will have."""
    queue: str
    type: str
    then: tuple[FollowerInfo, ...] = ()
    """The tasks that follow it in turn."""


@frozen(kw_only=True)
class FailureInfo:
    """An attempt of a task that failed."""

    number: int
    """1 for the first attempt. Numbers may be missing: programs that do not use this library record none."""
    at: datetime
    """When it ended or, if its worker was lost, when that was noticed."""
    error: str
    """The first 300 bytes of its error. `TaskInfo.last_err` is the last error as a whole."""
    became: TaskState
    """What became of the task: retry, archived or, after the first loss of a worker, pending."""
    ran_for: timedelta | None = None
    """How long it ran, by the clock of the broker; None if its worker was lost."""


@frozen(kw_only=True)
class TaskInfo(_Unread, OfResults[R_co, G_co]):
    """A task at the time it was read.

    For type checkers, `TaskInfo[R]` is a task whose result is an `R`, and `TaskInfo[R, G]` one whose progress
    is a `G`.

    Datetimes are aware, in UTC. A time that a peer stored outside of Python's calendar is shown as the
    nearest one inside.
    """

    id: str
    queue: str
    type: str
    state: TaskState
    payload: bytes = b""
    headers: Mapping[str, str] = Factory(dict)
    """Without that of the failures."""
    max_retry: int = 25
    retried: int = 0
    """Number of retries so far."""
    last_err: str = ""
    """Text of the last error; "" for none."""
    last_failed_at: datetime | None = None
    failures: tuple[FailureInfo, ...] = ()
    """The attempts that failed, oldest first: the last 10, or those that are known."""
    timeout: timedelta | None = None
    """The longest time of one run; None when only the deadline limits it."""
    deadline: datetime | None = None
    group: str = ""
    """Name of the group in which the task is aggregated; "" for none."""
    sequence: str = ""
    """Name of the sequence in which the task runs; "" for none."""
    waiting: bool = False
    """True for a scheduled task that waits for its turn in its sequence, or for the tasks that it follows."""
    awaits: tuple[tuple[str, str], ...] = ()
    """Queue and id of each task that this one still waits for."""
    next_process_at: datetime | None = None
    """When a scheduled or retried task is due, or since when a pending one may run; None in other states, and
    while the task waits in its sequence."""
    since: datetime | None = None
    """When the task came into its state: known of pending, retried, archived and completed tasks, None of
    others."""
    orphaned: bool = False
    """True for an active task whose worker is lost."""
    retention: timedelta = timedelta(0)
    """How long the task is kept once completed."""
    then: tuple[FollowerInfo, ...] = ()
    """The tasks that are enqueued when this one succeeds."""
    completed_at: datetime | None = None
    result: bytes | None = None
    """What the handler returned, or wrote last."""
    result_types: ResultTypes = field(default=UNDECLARED, eq=False, repr=False)
    """The types that the definition of the task declares for its result and its progress."""

    @classmethod
    def of(cls, stored: StoredTask, types: ResultTypes = UNDECLARED) -> TaskInfo[Any, Any]:
        """The public view of a task as a broker stores it."""
        info = cls.__new__(cls)
        _store(info, stored)
        if types is not UNDECLARED:
            object.__setattr__(info, "_types", types)
        return info

    if not TYPE_CHECKING:  # a type checker should still report attributes that do not exist

        def __getattr__(self, name: str) -> Any:
            """Set a field at its first use: most callers of `enqueue` read none, and a filter one or two."""
            if (shows := _SHOWN.get(name)) is not None:
                value = shows(self._stored)
            elif name == "result_types":
                value = getattr(self, "_types", UNDECLARED)
            else:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            object.__setattr__(self, name, value)
            return value


def _awaits(message: TaskMessage) -> tuple[tuple[str, str], ...]:
    members = enumerate(members_of(message))
    return tuple(each for place, each in members if f"{RESULT_HEADER}{place}" not in message.headers)


def _failure(failure: Failure) -> FailureInfo:
    return FailureInfo(
        number=failure.number,
        at=instant_of(failure.at),
        error=failure.error or "",
        became=failure.to,
        ran_for=None if failure.ran is None else duration_of(failure.ran),
    )


def _then(message: TaskMessage) -> tuple[FollowerInfo, ...]:
    try:
        followers = followers_of(message)
    except DECODE_ERRORS:
        return ()
    return () if followers is None else _shown_followers(followers.then)


def _shown_followers(then: tuple[Follower, ...]) -> tuple[FollowerInfo, ...]:
    return tuple(
        FollowerInfo(id=each.id, queue=each.queue, type=each.type, then=_shown_followers(each.then))
        for each in then
    )


_store = TaskInfo._stored.__set__  # type: ignore[attr-defined]  # noqa: SLF001 - as TaskInfo cannot be changed


def _next_process_at(stored: StoredTask) -> datetime | None:
    if stored.state is TaskState.PENDING:
        return instant_or_none(stored.pending_since)
    if stored.state in (TaskState.SCHEDULED, TaskState.RETRY) and not stored.waiting:
        return instant_or_none(stored.due_at)
    return None


def _since(stored: StoredTask) -> datetime | None:
    message = stored.message
    instant = {
        TaskState.PENDING: stored.pending_since,
        TaskState.RETRY: message.last_failed_at * 1000,
        TaskState.ARCHIVED: stored.due_at,
        TaskState.COMPLETED: message.completed_at * 1000,
    }.get(stored.state, 0)
    return instant_or_none(instant)


_SHOWN: dict[str, Callable[[StoredTask], Any]] = {
    "id": lambda stored: stored.message.id,
    "queue": lambda stored: stored.message.queue,
    "type": lambda stored: stored.message.type,
    "state": lambda stored: stored.state,
    "payload": lambda stored: stored.message.payload,
    "headers": lambda stored: without_failures(stored.message.headers),
    "max_retry": lambda stored: stored.message.max_retry,
    "retried": lambda stored: stored.message.retried,
    "last_err": lambda stored: stored.message.error,
    "last_failed_at": lambda stored: instant_or_none(stored.message.last_failed_at * 1000),
    "failures": lambda stored: tuple(map(_failure, failures_of(stored.message))),
    "timeout": lambda stored: duration_of(stored.message.timeout * 1000) if stored.message.timeout else None,
    "deadline": lambda stored: instant_or_none(stored.message.deadline * 1000),
    "group": lambda stored: stored.message.group,
    "sequence": lambda stored: stored.message.sequence,
    "waiting": lambda stored: stored.waiting,
    "awaits": lambda stored: _awaits(stored.message) if stored.waiting else (),
    "next_process_at": _next_process_at,
    "since": _since,
    "orphaned": lambda stored: stored.orphaned,
    "retention": lambda stored: duration_of(own_retention(stored.message) * 1000),
    "then": lambda stored: _then(stored.message),
    "completed_at": lambda stored: instant_or_none(stored.message.completed_at * 1000),
    "result": lambda stored: stored.result,
}
"""How each field of a TaskInfo is read from what a broker stores."""


@frozen(kw_only=True)
class QueueInfo:
    """Statistics of one queue at the time they were read."""

    queue: str
    size: int
    """Tasks in all states."""
    pending: int
    active: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    aggregating: int
    groups: int
    """Groups that hold tasks."""
    processed: int
    """Runs that ended today (UTC), including failures."""
    failed: int
    """Runs that failed today (UTC)."""
    processed_total: int
    failed_total: int
    paused: bool
    latency: timedelta
    """How long the oldest pending task has waited."""
    memory: int | None
    """Estimate of the bytes that the queue occupies; None if the broker does not support it."""

    @classmethod
    def of(cls, stats: QueueStats, memory: int | None) -> QueueInfo:
        """The public view of a broker's statistics."""
        numbers = asdict(stats) | {"latency": duration_of(stats.latency)}
        return cls(size=stats.size, memory=memory, **numbers)
