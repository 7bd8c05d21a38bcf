"""WriteServer, ClearServer, ListServers, WriteScheduler, ClearScheduler, ListSchedulerEntries, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops import MAX_ENQUEUE_EVENTS
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, latest_of_each

if TYPE_CHECKING:
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
    from asynq_conformance.model.state import System


def write_server(system: System, op: WriteServer, now: int) -> None:
    """Register a server."""
    system.servers[op.server.id] = (op.server, now + op.ttl)


def clear_server(system: System, op: ClearServer, now: int) -> None:
    """Deregister a server."""
    del now
    system.servers.pop(op.server_id, None)


def list_servers(system: System, op: ListServers, now: int) -> tuple[ServerInfo, ...]:
    """The servers, sorted."""
    del op
    seen = [server for server, until in system.servers.values() if until > now]
    return tuple(sorted(seen, key=lambda server: (server.host, server.pid, server.id)))


def write_scheduler(system: System, op: WriteScheduler, now: int) -> None:
    """Register the entries of a scheduler."""
    system.schedulers[op.scheduler_id] = (op.entries, now + op.ttl)


def clear_scheduler(system: System, op: ClearScheduler, now: int) -> None:
    """Deregister the entries of a scheduler."""
    del now
    system.schedulers.pop(op.scheduler_id, None)


def list_scheduler_entries(system: System, op: ListSchedulerEntries, now: int) -> tuple[SchedulerEntry, ...]:
    """The entries of all schedulers."""
    del op
    return latest_of_each(
        entry for entries, until in system.schedulers.values() if until > now for entry in entries
    )


def record_enqueue_event(system: System, op: RecordEnqueueEvent, now: int) -> None:
    """Record an enqueue event of an entry."""
    events = {*_events(system, op.entry_id, now), op.event}
    latest = sorted(events, key=lambda event: (event.enqueued_at, event.task_id), reverse=True)
    system.events[op.entry_id] = (latest[:MAX_ENQUEUE_EVENTS], now + op.keep)


def list_enqueue_events(system: System, op: ListEnqueueEvents, now: int) -> tuple[EnqueueEvent, ...]:
    """One page of enqueue events."""
    return tuple(_events(system, op.entry_id, now)[op.offset : op.offset + op.limit])


def _events(system: System, entry_id: str, now: int) -> list[EnqueueEvent]:
    events, until = system.events.get(entry_id, ([], 0))
    return events if until > now else []
