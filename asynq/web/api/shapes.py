"""Answers of the API about queues, tasks and servers, with the names that asynqmon gave to their members."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.durations import format_duration
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from datetime import timedelta

    from asynq.info import FailureInfo, QueueInfo, TaskInfo
    from asynq.protocol.groups import GroupInfo
    from asynq.protocol.history import DayStats
    from asynq.protocol.presence import WorkerInfo


class QueueSnapshot(Struct, kw_only=True):
    """A queue at the time it was read."""

    queue: str
    size: int
    groups: int
    active: int
    pending: int
    aggregating: int
    scheduled: int
    retry: int
    archived: int
    completed: int
    processed: int
    """Runs that ended today (UTC)."""
    succeeded: int
    failed: int
    paused: bool
    latency_msec: int
    display_latency: str
    memory_usage_bytes: int | None
    """An estimate; null if it was not made."""
    processed_total: int
    failed_total: int
    timestamp: datetime


def queue_snapshot(info: QueueInfo, at: datetime) -> QueueSnapshot:
    """The snapshot of a queue."""
    return QueueSnapshot(
        queue=info.queue,
        size=info.size,
        groups=info.groups,
        active=info.active,
        pending=info.pending,
        aggregating=info.aggregating,
        scheduled=info.scheduled,
        retry=info.retry,
        archived=info.archived,
        completed=info.completed,
        processed=info.processed,
        succeeded=info.processed - info.failed,
        failed=info.failed,
        paused=info.paused,
        latency_msec=milliseconds(info.latency),
        display_latency=format_duration(info.latency),
        memory_usage_bytes=info.memory,
        processed_total=info.processed_total,
        failed_total=info.failed_total,
        timestamp=at,
    )


class DailyStats(Struct, kw_only=True):
    """Runs of a queue on one day (UTC)."""

    queue: str
    date: str
    processed: int
    succeeded: int
    failed: int


def daily_stats(day: DayStats) -> DailyStats:
    """The runs of a day."""
    return DailyStats(
        queue=day.queue,
        date=day.date.isoformat(),
        processed=day.processed,
        succeeded=day.processed - day.failed,
        failed=day.failed,
    )


class DataFacts(Struct, kw_only=True):
    """What a text says of the bytes that it shows."""

    encoding: Literal["text", "hex"]
    """"hex": they are no text, and shown in hexadecimal."""
    size: int
    """Number of all bytes."""
    truncated: bool
    """Whether the text is only the beginning."""


def shown_data(value: bytes, limit: int) -> tuple[str, DataFacts]:
    """At most so many bytes as text, or in hexadecimal if they are no text."""
    part, size = value[:limit], len(value)
    truncated = size > limit
    try:
        return part.decode(), DataFacts(encoding="text", size=size, truncated=truncated)
    except UnicodeDecodeError as error:
        # The limit may cut the last character.
        if truncated and error.reason == "unexpected end of data" and error.start > limit - 4:
            text = part[: error.start].decode()
            return text, DataFacts(encoding="text", size=size, truncated=True)
    return part.hex(), DataFacts(encoding="hex", size=size, truncated=truncated)


class Group(Struct, kw_only=True):
    """A group that holds tasks."""

    group: str
    size: int
    waiting_msec: int
    """How long its oldest task has waited."""
    quiet_msec: int
    """How long ago its newest task was added."""


def group_of(info: GroupInfo) -> Group:
    """The shape of a group."""
    return Group(group=info.name, size=info.size, waiting_msec=info.waiting, quiet_msec=info.quiet)


class FailedAttempt(Struct, kw_only=True):
    """An attempt of a task that failed."""

    number: int
    """1 for the first attempt. Those that other programs did not record are missing."""
    failed_at: datetime
    error_message: str
    """The beginning of its error."""
    became: TaskState
    """What became of the task."""
    seconds: float | None
    """How long it ran; null if its worker was lost."""


def failed_attempt(failure: FailureInfo, limit: int) -> FailedAttempt:
    """The shape of an attempt, with at most so many characters of its error."""
    return FailedAttempt(
        number=failure.number,
        failed_at=failure.at,
        error_message=failure.error[:limit],
        became=failure.became,
        seconds=None if failure.ran_for is None else failure.ran_for.total_seconds(),
    )


class TaskItem(Struct, kw_only=True):
    """A task. Times that are unknown or have no meaning in its state are null."""

    id: str
    queue: str
    type: str
    state: TaskState
    payload: str
    payload_facts: DataFacts
    max_retry: int
    retried: int
    error_message: str
    last_failed_at: datetime | None
    next_process_at: datetime | None
    deadline: datetime | None
    timeout_seconds: float | None
    completed_at: datetime | None
    since: datetime | None
    """When it came into its state."""
    result: str
    result_facts: DataFacts | None
    ttl_seconds: float | None
    """How long a completed task is still kept; negative for one that is to be deleted."""
    group: str
    sequence: str
    waiting: bool
    """Whether it waits for its turn in its sequence, or for the tasks that it follows."""
    is_orphaned: bool
    """Whether its worker is lost."""
    start_time: datetime | None = None
    """When an active task began to run; null if no server says so."""
    run_deadline: datetime | None = None
    """When the present run must have ended, by all limits together; null if no server says so."""


def task_item(task: TaskInfo, limit: int, now: datetime, run: WorkerInfo | None = None) -> TaskItem:
    """The shape of a task.

    Args:
        task: The task.
        limit: Bytes of its payload, its result and its error that are shown.
        now: The present.
        run: Its present run, if a server tells of it.
    """
    payload, payload_facts = shown_data(task.payload, limit)
    result, result_facts = ("", None) if task.result is None else shown_data(task.result, limit)
    ttl = None
    if task.state is TaskState.COMPLETED and task.completed_at is not None:
        ttl = (task.completed_at - now).total_seconds() + task.retention.total_seconds()
    return TaskItem(
        id=task.id,
        queue=task.queue,
        type=task.type,
        state=task.state,
        payload=payload,
        payload_facts=payload_facts,
        max_retry=task.max_retry,
        retried=task.retried,
        error_message=task.last_err[:limit],
        last_failed_at=task.last_failed_at,
        next_process_at=task.next_process_at,
        deadline=task.deadline,
        timeout_seconds=None if task.timeout is None else task.timeout.total_seconds(),
        completed_at=task.completed_at,
        since=task.since,
        result=result,
        result_facts=result_facts,
        ttl_seconds=ttl,
        group=task.group,
        sequence=task.sequence,
        waiting=task.waiting,
        is_orphaned=task.orphaned,
        start_time=None if run is None else run.started_at,
        run_deadline=None if run is None else run.deadline,
    )


def milliseconds(duration: timedelta) -> int:
    """A duration in whole milliseconds."""
    return int(duration.total_seconds() * 1000)


def utc_now() -> datetime:
    """The present."""
    return datetime.now(UTC)
