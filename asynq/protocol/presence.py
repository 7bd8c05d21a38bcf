"""Servers, workers and schedulers that are online, as they describe themselves in their heartbeats.

These records are for people to read and nothing is decided by them, so their instants are aware datetimes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping  # noqa: TC003 - backends read the annotations
from datetime import UTC, datetime

from msgspec import Struct, field

MAX_SHOWN_PAYLOAD = 1024
"""The most bytes of a payload in a heartbeat, because every heartbeat writes them again."""


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """A run in progress on a server."""

    task_id: str
    task_type: str
    payload: bytes
    """The task's payload, truncated if it is long."""
    queue: str
    started_at: datetime
    deadline: datetime
    """When the run must have ended."""


class ServerInfo(Struct, frozen=True, kw_only=True):
    """A server, as described by its last heartbeat."""

    id: str
    """Random, one per server."""
    host: str
    pid: int
    started_at: datetime
    concurrency: int
    """The most runs at the same time."""
    queues: Mapping[str, int] = field(default_factory=dict)
    """Queue names with their weights."""
    strict_priority: bool = False
    status: str = "active"
    """"active", or "stopped" when the server takes no more tasks."""
    workers: tuple[WorkerInfo, ...] = ()
    """Its runs in progress."""


class SchedulerEntry(Struct, frozen=True, kw_only=True):
    """A periodic task, as described by the scheduler that enqueued it last."""

    id: str
    spec: str
    """The schedule, such as "*/5 * * * *"."""
    task_type: str
    payload: bytes = b""
    """The task's payload, truncated if it is long."""
    options: tuple[str, ...] = ()
    """The task's options in Go asynq's notation: 'Queue("low")', "Timeout(1m30s)"."""
    next_enqueue_at: datetime | None = None
    """None: never again."""
    prev_enqueue_at: datetime | None = None
    """None: not yet."""


class EnqueueEvent(Struct, frozen=True, kw_only=True):
    """A task that a scheduler enqueued."""

    task_id: str
    enqueued_at: datetime


def latest_of_each(entries: Iterable[SchedulerEntry]) -> tuple[SchedulerEntry, ...]:
    """Each entry once, sorted by id, as described by the scheduler that enqueued it last."""
    latest: dict[str, SchedulerEntry] = {}
    for entry in entries:
        seen = latest.get(entry.id)
        if seen is None or _last(seen) < _last(entry):
            latest[entry.id] = entry
    return tuple(latest[entry_id] for entry_id in sorted(latest))


def _last(entry: SchedulerEntry) -> datetime:
    return entry.prev_enqueue_at or datetime.min.replace(tzinfo=UTC)
