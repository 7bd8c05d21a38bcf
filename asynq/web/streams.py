"""Streams of server-sent events: what the one poller reads, as JSON or as a part of a page."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of, error_response
from asynq.web.api.live_shapes import live_overview
from asynq.web.pages.fragments import FRAGMENTS
from asynq.web.pages.links import Links

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.requests import Request

    from asynq.web.live import LivePoller, LiveSnapshot

RETRY = 3_000
"""Milliseconds after which a browser connects again."""
_KEEP_ALIVE = b": keep-alive\n\n"


def stream_routes() -> list[Route]:
    """The routes of all streams."""
    return [
        Route("/api/live", _json, methods=["GET"]),
        Route("/live/{fragment}", _fragment, methods=["GET"]),
    ]


async def _json(request: Request) -> Response:
    """Each snapshot as JSON."""
    return _stream(request, "overview", lambda snapshot: msgspec.json.encode(live_overview(snapshot)))


async def _fragment(request: Request) -> Response:
    """Each snapshot as a part of a page."""
    name = request.path_params["fragment"]
    render = FRAGMENTS.get(name)
    if render is None:
        return error_response(RequestError(404, "not_found", f"there is no live part {name!r}"))
    call = call_of(request)
    links = Links(request.scope.get("root_path", ""))
    key = (name, links.root_path, call.operates)

    def rendered(snapshot: LiveSnapshot) -> bytes:
        if key not in snapshot.rendered:
            snapshot.rendered[key] = render(snapshot, links, operates=call.operates).encode()
        return snapshot.rendered[key]

    return _stream(request, name, rendered)


def _stream(request: Request, event: str, render: Callable[[LiveSnapshot], bytes]) -> Response:
    live: LivePoller = request.app.state.web.live
    try:
        live.check_room()
    except RequestError as error:
        return error_response(error)
    seen = request.headers.get("last-event-id", "")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":  # which has no body, and so would never end
        return Response(headers=headers, media_type="text/event-stream")
    return StreamingResponse(
        _events(live, seen, event, render), media_type="text/event-stream", headers=headers
    )


async def _events(
    live: LivePoller, seen: str, event: str, render: Callable[[LiveSnapshot], bytes]
) -> AsyncGenerator[bytes, None]:
    yield b"retry: %d\n\n" % RETRY
    snapshots = live.snapshots(seen)
    try:
        async for snapshot in snapshots:
            yield _KEEP_ALIVE if snapshot is None else event_of(snapshot.id, event, render(snapshot))
    finally:
        await snapshots.aclose()


def event_of(event_id: str, name: str, content: bytes) -> bytes:
    """One event of a stream."""
    lines = b"".join(b"data: " + line + b"\n" for line in re.split(b"\r\n|\r|\n", content))
    return b"id: %s\nevent: %s\n%s\n" % (event_id.encode(), name.encode(), lines)
