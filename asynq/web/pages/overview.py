"""The overview: all queues, how fast they are, and the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from asynq.inspector.overview import Overview
from asynq.web.api.http import call_of
from asynq.web.api.live_shapes import live_overview
from asynq.web.live.rates import RatedOverview
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.call import WebCall

_NOTHING = RatedOverview(Overview(queues=(), unreadable={}, servers=()))
STATES = ("pending", "active", "scheduled", "retry", "archived", "completed", "aggregating")


async def overview_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    read = evolve(last_rates(call), overview=await call.web.inspector.overview())
    stream = links_of(request)("live", "overview")
    return page(request, call, "overview.html", stream=stream, **overview_context(read))


def overview_context(read: RatedOverview) -> dict[str, Any]:
    """What the page shows."""
    return {"live": live_overview(read), "states": STATES}


def last_rates(call: WebCall) -> RatedOverview:
    """How fast the queues are, if anyone watches them."""
    latest = call.web.live.latest(call.web.overview)
    read: RatedOverview = (latest and latest.value) or _NOTHING
    return read
