"""The overview: all queues, how fast they are, and the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.http import call_of
from asynq.web.api.live_shapes import live_overview
from asynq.web.live import LiveSnapshot
from asynq.web.pages.rendering import page, render

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.pages.links import Links

STATES = ("pending", "active", "scheduled", "retry", "archived", "completed", "aggregating")


async def overview_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    snapshot = LiveSnapshot("", await call.web.inspector.overview())
    return page(request, call, "overview.html", live=live_overview(snapshot), states=STATES)


def overview_fragment(snapshot: LiveSnapshot, links: Links, *, operates: bool) -> str:
    """What of the page is live."""
    return render(
        "parts/overview.html", links, live=live_overview(snapshot), states=STATES, operates=operates
    )
