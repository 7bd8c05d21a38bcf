"""The overview: all queues, how fast they are, and the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from attrs import evolve

from asynq.inspector.overview import Overview
from asynq.web.api.errors import converted
from asynq.web.api.http import call_of
from asynq.web.api.live_shapes import live_overview
from asynq.web.live.rates import STEP, TREND, RatedOverview
from asynq.web.pages.asking import given
from asynq.web.pages.rendering import links_of, page
from asynq.worker.queue_patterns import unserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.protocol.presence import ServerInfo
    from asynq.web.api.shapes import QueueSnapshot
    from asynq.web.call import WebCall
    from asynq.web.pages.links import Links

_NOTHING = RatedOverview(Overview(queues=(), unreadable={}, servers=()))
STATES = ("pending", "active", "scheduled", "retry", "archived", "completed", "aggregating")
TO_RUN = ("pending", "aggregating", "scheduled", "retry")
"""States of tasks that need a server."""
SortKey = Literal[
    "",
    "size",
    "pending",
    "active",
    "scheduled",
    "retry",
    "archived",
    "completed",
    "aggregating",
    "latency",
    "rate",
    "failed",
]


class ShownQueues(msgspec.Struct, frozen=True, kw_only=True):
    """Names the column by which the queues are sorted, highest first; "" for their names."""

    sort: SortKey = ""


async def overview_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    asked = converted({"sort": given(request).get("sort", "")}, ShownQueues)
    read = evolve(last_rates(call), overview=await call.web.inspector.overview())
    stream = links_of(request)("live", "overview", sort=asked.sort or None)
    return page(request, call, "overview.html", stream=stream, **overview_context(read, asked))


def overview_context(read: RatedOverview, asked: ShownQueues) -> dict[str, Any]:
    """What the page shows."""
    live = live_overview(read)
    if asked.sort:
        live.queues.sort(key=_by(asked.sort, read), reverse=True)
    return {
        "live": live,
        "states": STATES,
        "unserved": unserved_queues(live.queues, read.overview.servers),
        "sort": asked.sort,
        "trends": read.trends,
        "places": TREND,
        "steps": TREND // STEP,
        "span": read.span,
    }


def unserved_queues(queues: Iterable[QueueSnapshot], servers: Iterable[ServerInfo]) -> set[str]:
    """The queues with tasks that are to run, and that no server serves."""
    return set(
        unserved([each.queue for each in queues if any(getattr(each, name) for name in TO_RUN)], servers)
    )


def overview_address(links: Links, asked: ShownQueues) -> str:
    """The address of the page."""
    return links(sort=asked.sort or None)


def _by(sort: str, read: RatedOverview) -> Callable[[QueueSnapshot], float]:
    """What the queues are sorted by."""

    def value(queue: QueueSnapshot) -> float:
        if sort == "latency":
            return queue.latency_msec if queue.pending else -1.0
        if sort == "rate":
            return read.rates[queue.queue].processed if queue.queue in read.rates else -1.0
        number: float = getattr(queue, sort)
        return number

    return value


def last_rates(call: WebCall) -> RatedOverview:
    """How fast the queues are, if anyone watches them."""
    latest = call.web.live.latest(call.web.overview)
    read: RatedOverview = (latest and latest.value) or _NOTHING
    return read
