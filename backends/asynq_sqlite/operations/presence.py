"""Presence of servers and schedulers, and enqueue events."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from asynq.instants import EPOCH
from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.ops import MAX_ENQUEUE_EVENTS
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, latest_of_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq.protocol.ops import (
        ClearScheduler,
        ClearServer,
        ListEnqueueEvents,
        ListSchedulerEntries,
        ListServers,
        RecordEnqueueEvent,
        WriteScheduler,
        WriteServer,
    )
    from asynq_sqlite.store.task_store import TaskStore

_MICROSECOND = timedelta(microseconds=1)


def write_server(store: TaskStore, op: WriteServer, now: int) -> None:
    """Record the heartbeat of a server."""
    store.show("server", op.server.id, _json(op.server), now + op.ttl, now)


def clear_server(store: TaskStore, op: ClearServer, now: int) -> None:  # noqa: ARG001 - a handler's signature
    """Remove the record of a server."""
    store.hide("server", op.server_id)


def list_servers(store: TaskStore, op: ListServers, now: int) -> tuple[ServerInfo, ...]:  # noqa: ARG001 - a handler's signature
    """Return the servers, ordered by host, process and id."""
    servers = _decoded(store.seen("server", now), ServerInfo)
    return tuple(sorted(servers, key=lambda server: (server.host, server.pid, server.id)))


def write_scheduler(store: TaskStore, op: WriteScheduler, now: int) -> None:
    """Record the entries of a scheduler."""
    store.show("scheduler", op.scheduler_id, _json(op.entries), now + op.ttl, now)


def clear_scheduler(store: TaskStore, op: ClearScheduler, now: int) -> None:  # noqa: ARG001 - a handler's signature
    """Remove the record of a scheduler."""
    store.hide("scheduler", op.scheduler_id)


def list_scheduler_entries(
    store: TaskStore,
    op: ListSchedulerEntries,  # noqa: ARG001 - a handler's signature
    now: int,
) -> tuple[SchedulerEntry, ...]:
    """Return the entries of all schedulers."""
    schedulers = _decoded(store.seen("scheduler", now), tuple[SchedulerEntry, ...])
    return latest_of_each(entry for entries in schedulers for entry in entries)


def record_enqueue_event(store: TaskStore, op: RecordEnqueueEvent, now: int) -> None:
    """Record a task that an entry enqueued."""
    at = (op.event.enqueued_at - EPOCH) // _MICROSECOND
    store.add_event(op.entry_id, op.event.task_id, at, now + op.keep, now)
    store.keep_events(op.entry_id, MAX_ENQUEUE_EVENTS)


def list_enqueue_events(store: TaskStore, op: ListEnqueueEvents, now: int) -> tuple[EnqueueEvent, ...]:
    """Return one page of events, latest first."""
    return tuple(
        EnqueueEvent(task_id=task_id, enqueued_at=EPOCH + at * _MICROSECOND)
        for task_id, at in store.events(op.entry_id, op.offset, op.limit, now)
    )


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _decoded(records: Iterable[str], kind: Any) -> Iterator[Any]:
    """Decode records; skip those that cannot be decoded."""
    for record in records:
        try:
            yield msgspec.json.decode(record, type=kind)
        except DECODE_ERRORS:
            continue
