"""The route of the OpenAPI document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from asynq.web.api.openapi import document

if TYPE_CHECKING:
    from starlette.requests import Request


def document_route() -> Route:
    """GET /api/openapi.json."""
    return Route("/api/openapi.json", _answer, methods=["GET"])


async def _answer(request: Request) -> Response:
    servers = [{"url": f"{request.scope.get('root_path', '')}/api"}]
    body = msgspec.json.encode({**document(), "servers": servers})
    return Response(body, media_type="application/json")
