"""Streams of server-sent events: what is read for all that watch, as JSON or as parts of a page."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from attrs import define, field, frozen
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from asynq.web.api.errors import RequestError, converted
from asynq.web.api.http import call_of, error_response
from asynq.web.api.live_shapes import live_overview
from asynq.web.call import WebCall
from asynq.web.pages.asking import given
from asynq.web.pages.formats import capitalized, clock_time
from asynq.web.pages.live_parts import LIVE_PAGES
from asynq.web.pages.rendering import links_of, render_block
from asynq.web.security.users import User, UserRole

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from starlette.requests import Request

    from asynq.web.live.poller import LiveSnapshot
    from asynq.web.live.topics import LiveTopics, Topic
    from asynq.web.pages.links import Links
    from asynq.web.pages.live_parts import LivePage, LivePart

    Event = tuple[str, bytes]
    """Name and content."""

RETRY: Final = 3_000
"""Milliseconds after which a program connects again."""
TROUBLE: Final = "trouble"
"""The event that says in plain text why nothing is read; empty if things are read again."""
READER: Final = User("live", UserRole.VIEWER)
"""Who reads for all that watch: someone who may change nothing."""
_KEEP_ALIVE = b": keep-alive\n\n"


def stream_routes() -> list[Route]:
    """The routes of all streams."""
    return [
        Route("/api/live", _json, methods=["GET"]),
        Route("/live/{page}", _page, methods=["GET"]),
    ]


async def _json(request: Request) -> Response:
    """Each snapshot of all queues as JSON."""
    web = request.app.state.web

    def events(_: Topic, snapshot: LiveSnapshot) -> Iterator[Event]:
        error = snapshot.trouble.message if snapshot.trouble else ""
        yield "overview", msgspec.json.encode(live_overview(None if error else snapshot.value, error))

    return _stream(request, [web.overview], events)


async def _page(request: Request) -> Response:
    """Each snapshot of what a page shows, as parts of the page."""
    name = request.path_params["page"]
    page = LIVE_PAGES.get(name)
    if page is None:
        return error_response(RequestError(404, "not_found", f"there is no live page {name!r}"))
    call = call_of(request)
    try:
        asked = converted(given(request), page.asked)
    except RequestError as error:
        return error_response(error)
    parts = PageParts(page, asked, call, links_of(request))
    return _stream(request, parts.topics, parts.events, fresh="last-event-id" not in request.headers)


@frozen
class Rights:
    """What live parts know of the user: they are rendered once for all that have the same rights."""

    operates: bool


@define
class PageParts:
    """Makes the events of one browser that watches a page."""

    _page: LivePage
    _asked: Any
    _call: WebCall
    _links: Links
    _topic_of: dict[str, Topic] = field(init=False)
    """By the block of a part."""
    _sent: dict[str, bytes] = field(factory=dict, init=False)
    """The last content of each event."""
    _latest: dict[Topic, LiveSnapshot] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        call = WebCall(web=self._call.web, user=READER)
        self._topic_of = {part.block: part.topic(call, self._asked) for part in self._page.parts}

    @property
    def topics(self) -> list[Topic]:
        """What is read for the page."""
        return list(dict.fromkeys(self._topic_of.values()))

    def events(self, topic: Topic, snapshot: LiveSnapshot) -> Iterator[Event]:
        """What has changed on the page."""
        self._latest[topic] = snapshot
        troubled = next((each for each in self._latest.values() if each.trouble), None)
        found = [(TROUBLE, trouble_of(troubled).encode() if troubled else b"")]
        if snapshot.trouble is None:
            found += self._parts(topic, snapshot)
        for name, content in found:
            if self._sent.get(name) != content:
                self._sent[name] = content
                yield name, content

    def _parts(self, topic: Topic, snapshot: LiveSnapshot) -> Iterator[Event]:
        rights = Rights(self._call.operates)
        for part in self._page.parts:
            if self._topic_of[part.block] != topic:
                continue
            key = (part.template, part.block, self._asked, self._links, rights)
            if key not in snapshot.rendered:
                snapshot.rendered[key] = self._rendered(part, snapshot.value, rights)
            if snapshot.rendered[key]:
                yield part.block, snapshot.rendered[key]

    def _rendered(self, part: LivePart, value: Any, rights: Rights) -> bytes:
        context = part.context(value, self._asked, self._links)
        if context is None:
            return b""
        here = self._page.address(self._links, self._asked)
        text = render_block(part.template, part.block, self._links, call=rights, here=here, **context)
        return text.encode()


def trouble_of(snapshot: LiveSnapshot) -> str:
    """Why a topic is not read, as text. It names times, not how long ago they were: it is said once."""
    trouble, read_at = snapshot.trouble, clock_time(snapshot.read_at)
    if trouble is None:
        return ""
    if trouble.gone:
        shown = " The page shows it as it was." if read_at else ""
        return f"{capitalized(trouble.message)} since {clock_time(trouble.since)}.{shown}"
    last = f" Last read at {read_at}." if read_at else ""
    return f"Nothing can be read since {clock_time(trouble.since)}: {trouble.message.rstrip('.')}.{last}"


def _stream(
    request: Request,
    topics: list[Topic],
    events: Callable[[Topic, LiveSnapshot], Iterator[Event]],
    *,
    fresh: bool = False,
) -> Response:
    web = request.app.state.web
    live: LiveTopics = web.live
    try:
        live.check_room(topics)
    except RequestError as error:
        return error_response(error)
    seen = request.headers.get("last-event-id", "").split(",")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if request.method == "HEAD":  # which has no body, and so would never end
        return Response(headers=headers, media_type="text/event-stream")
    snapshots = live.watch(topics, seen, fresh=fresh)
    content = _events(snapshots, events, web.settings.max_stream)
    return StreamingResponse(content, media_type="text/event-stream", headers=headers)


async def _events(
    snapshots: AsyncGenerator[tuple[Topic, LiveSnapshot] | None, None],
    events: Callable[[Topic, LiveSnapshot], Iterator[Event]],
    seconds: float,
) -> AsyncGenerator[bytes, None]:
    """The text of a stream. It ends after a while, so that who watches is authenticated again."""
    now = asyncio.get_running_loop().time
    end = now() + seconds
    ids: dict[Topic, str] = {}
    yield b"retry: %d\n\n" % RETRY
    try:
        async for news in snapshots:
            if now() >= end:
                return
            if news is None:
                yield _KEEP_ALIVE
                continue
            topic, snapshot = news
            ids[topic] = snapshot.id
            for name, content in events(topic, snapshot):
                yield event_of(",".join(ids.values()), name, content)
    finally:
        await snapshots.aclose()


def event_of(event_id: str, name: str, content: bytes) -> bytes:
    """One event of a stream."""
    lines = b"".join(b"data: " + line + b"\n" for line in re.split(b"\r\n|\r|\n", content))
    return b"id: %s\nevent: %s\n%s\n" % (event_id.encode(), name.encode(), lines)
