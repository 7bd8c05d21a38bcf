"""Servers, and what each of them runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.web.api.endpoint import Nothing
from asynq.web.api.http import call_of
from asynq.web.api.servers import list_servers
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.call import WebCall


async def servers_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    stream = links_of(request)("live", "servers")
    return page(request, call, "servers.html", stream=stream, **await servers_context(call, Nothing()))


async def servers_context(call: WebCall, asked: Nothing) -> dict[str, Any]:
    """What the page shows."""
    return {"servers": (await list_servers(call, asked)).servers}
