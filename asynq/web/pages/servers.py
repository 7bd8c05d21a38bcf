"""Servers, and what each of them runs now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.endpoint import Nothing
from asynq.web.api.http import call_of
from asynq.web.api.servers import list_servers
from asynq.web.pages.rendering import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def servers_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    return page(request, call, "servers.html", servers=(await list_servers(call, Nothing())).servers)
