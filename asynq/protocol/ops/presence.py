"""Presence: servers and schedulers that let themselves be seen.

Whoever is written is seen for `ttl` from then, so that a crash ends it by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo

MAX_ENQUEUE_EVENTS = 1000
"""Most enqueue events that are kept for one entry."""


@frozen(kw_only=True)
class WriteServer(Op[None]):
    """Let a server and its workers be seen, in place of what it wrote before."""

    server: ServerInfo
    ttl: int


@frozen(kw_only=True)
class ClearServer(Op[None]):
    """Let a server be seen no more."""

    host: str
    pid: int
    server_id: str


@frozen(kw_only=True)
class ListServers(Op["tuple[ServerInfo, ...]"]):
    """The servers that can be seen, by host, process and id. What cannot be decoded is left out."""

    read_only: ClassVar[bool] = True


@frozen(kw_only=True)
class WriteScheduler(Op[None]):
    """Let the entries of a scheduler be seen, in place of what it wrote before."""

    scheduler_id: str
    entries: tuple[SchedulerEntry, ...]
    ttl: int


@frozen(kw_only=True)
class ClearScheduler(Op[None]):
    """Let the entries of a scheduler be seen no more."""

    scheduler_id: str


@frozen(kw_only=True)
class ListSchedulerEntries(Op["tuple[SchedulerEntry, ...]"]):
    """The entries of all schedulers that can be seen, by id. What cannot be decoded is left out.

    An entry that several schedulers have is listed once, as the one that enqueued it last describes it.
    """

    read_only: ClassVar[bool] = True


@frozen(kw_only=True)
class RecordEnqueueEvent(Op[None]):
    """Remember what an entry enqueued. Its latest MAX_ENQUEUE_EVENTS are kept, all for `keep` from now."""

    entry_id: str
    event: EnqueueEvent
    keep: int


@frozen(kw_only=True)
class ListEnqueueEvents(Op["tuple[EnqueueEvent, ...]"]):
    """One page of what an entry enqueued, latest first."""

    read_only: ClassVar[bool] = True
    entry_id: str
    offset: int = 0
    limit: int = 30
