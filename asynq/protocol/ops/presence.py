"""Operations for presence: heartbeats of servers and schedulers, and the enqueue events of schedulers.

A record is visible for `ttl` after it was written, so the record of a crashed process expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo

MAX_ENQUEUE_EVENTS = 1000
"""The most enqueue events that are kept per entry."""


class WriteServer(Op[None], frozen=True, kw_only=True):
    """Write the heartbeat of a server and its workers; replaces what the server wrote before."""

    server: ServerInfo
    ttl: int


class ClearServer(Op[None], frozen=True, kw_only=True):
    """Remove the record of a server."""

    host: str
    pid: int
    server_id: str


class ListServers(Op["tuple[ServerInfo, ...]"], frozen=True, kw_only=True):
    """All visible servers, by host, process id and server id. Records that cannot be decoded are left out."""

    read_only: ClassVar[bool] = True


class WriteScheduler(Op[None], frozen=True, kw_only=True):
    """Write the entries of a scheduler; replaces what the scheduler wrote before."""

    scheduler_id: str
    entries: tuple[SchedulerEntry, ...]
    ttl: int


class ClearScheduler(Op[None], frozen=True, kw_only=True):
    """Remove the entries of a scheduler."""

    scheduler_id: str


class ListSchedulerEntries(Op["tuple[SchedulerEntry, ...]"], frozen=True, kw_only=True):
    """The entries of all visible schedulers, sorted by id. Entries that cannot be decoded are left out.

    An entry that several schedulers have is listed once, as described by the scheduler that enqueued it last.
    """

    read_only: ClassVar[bool] = True


class RecordEnqueueEvent(Op[None], frozen=True, kw_only=True):
    """Record what an entry enqueued. Keeps the entry's latest MAX_ENQUEUE_EVENTS, all for `keep` from now."""

    entry_id: str
    event: EnqueueEvent
    keep: int


class ListEnqueueEvents(Op["tuple[EnqueueEvent, ...]"], frozen=True, kw_only=True):
    """One page of the enqueue events of an entry, latest first."""

    read_only: ClassVar[bool] = True
    entry_id: str
    offset: int = 0
    limit: int = 30
