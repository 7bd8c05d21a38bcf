"""TaskInfo, QueueInfo: what a user is told about a task and about a queue."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from attrs import Factory, asdict, frozen

from asynq.instants import duration_of, instant_or_none
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.protocol.message import QueueStats, StoredTask


@frozen(kw_only=True)
class TaskInfo:
    """A task as it was at the moment of asking.

    Datetimes are aware, in UTC. What a peer stored beyond Python's calendar is shown as the nearest time.
    """

    id: str
    queue: str
    type: str
    state: TaskState
    payload: bytes = b""
    headers: Mapping[str, str] = Factory(dict)
    max_retry: int = 25
    retried: int = 0
    """Retries spent so far."""
    last_err: str = ""
    """Text of the last failure, "" for none."""
    last_failed_at: datetime | None = None
    timeout: timedelta | None = None
    """Longest time one run may take; None when only the deadline limits it."""
    deadline: datetime | None = None
    group: str = ""
    """Name of the group the task is aggregated in, "" for none."""
    next_process_at: datetime | None = None
    """When a scheduled or retried task is due, or since when a pending one may run; None in other states."""
    orphaned: bool = False
    """True for an active task whose worker is lost."""
    retention: timedelta = timedelta(0)
    """How long the task is kept once completed."""
    completed_at: datetime | None = None
    result: bytes | None = None
    """What the handler returned or wrote so far."""

    @classmethod
    def of(cls, stored: StoredTask) -> TaskInfo:
        """The public view of a task as a broker found it."""
        message = stored.message
        next_process_at = {
            TaskState.PENDING: stored.pending_since,
            TaskState.SCHEDULED: stored.due_at,
            TaskState.RETRY: stored.due_at,
        }.get(stored.state, 0)
        return cls(
            id=message.id,
            queue=message.queue,
            type=message.type,
            state=stored.state,
            payload=message.payload,
            headers=message.headers,
            max_retry=message.max_retry,
            retried=message.retried,
            last_err=message.error,
            last_failed_at=instant_or_none(message.last_failed_at * 1000),
            timeout=duration_of(message.timeout * 1000) if message.timeout else None,
            deadline=instant_or_none(message.deadline * 1000),
            group=message.group,
            next_process_at=instant_or_none(next_process_at),
            orphaned=stored.orphaned,
            retention=duration_of(message.retention * 1000),
            completed_at=instant_or_none(message.completed_at * 1000),
            result=stored.result,
        )


@frozen(kw_only=True)
class QueueInfo:
    """Numbers of one queue as they were at the moment of asking."""

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
    """Runs ended today (UTC), failures included."""
    failed: int
    """Runs failed today (UTC)."""
    processed_total: int
    failed_total: int
    paused: bool
    latency: timedelta
    """How long the oldest pending task has waited."""
    memory: int | None
    """Bytes the queue occupies, an estimate; None where the broker does not support that."""

    @classmethod
    def of(cls, stats: QueueStats, memory: int | None) -> QueueInfo:
        """The public view of the numbers a broker gives."""
        numbers = asdict(stats) | {"latency": duration_of(stats.latency)}
        return cls(size=stats.size, memory=memory, **numbers)
