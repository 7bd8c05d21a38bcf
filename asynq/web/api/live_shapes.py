"""What a stream of the API says: all queues, how fast they are, and the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.web.api.shapes import QueueSnapshot, queue_snapshot, utc_now

if TYPE_CHECKING:
    from asynq.web.live.rates import RatedOverview


class QueueRate(Struct, kw_only=True):
    """Runs in a second."""

    processed: float
    failed: float


class LiveOverview(Struct, kw_only=True):
    """All queues and servers at one time."""

    queues: list[QueueSnapshot]
    rates: dict[str, QueueRate]
    """By queue, averaged over the last minute. Empty in the first event of a poller that has just started."""
    trend: list[QueueRate]
    """Runs of all queues together, between each two of the last readings, oldest first."""
    unreadable: dict[str, str]
    servers: int
    slots: int
    """Tasks that the servers can run at the same time."""
    busy: int
    """Tasks that they run."""
    error: str
    """Why nothing could be read; "" if all was."""


def live_overview(read: RatedOverview | None, error: str = "") -> LiveOverview:
    """The shape of what was read; of nothing, if nothing was."""
    now, overview = utc_now(), read.overview if read else None
    servers = overview.servers if overview else ()
    return LiveOverview(
        queues=[queue_snapshot(info, now) for info in overview.queues] if overview else [],
        rates={
            queue: QueueRate(processed=rate.processed, failed=rate.failed)
            for queue, rate in (read.rates if read else {}).items()
        },
        trend=[
            QueueRate(processed=rate.processed, failed=rate.failed) for rate in (read.trend if read else ())
        ],
        unreadable={name: str(error) for name, error in overview.unreadable.items()} if overview else {},
        servers=len(servers),
        slots=sum(server.concurrency for server in servers),
        busy=sum(len(server.workers) for server in servers),
        error=error,
    )
