"""Reads a stream of server-sent events from the application itself."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from attrs import frozen


def _scope(path: str, query: Any, headers: dict[str, str]) -> dict[str, Any]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http", "method": "GET", "path": unquote(path), "root_path": "",
        "query_string": urlencode(query).encode(), "headers": [(b"host", b"localhost"), *raw],
        "client": ("127.0.0.1", 1), "scheme": "http", "server": ("localhost", 80), "http_version": "1.1",
        "asgi": {"spec_version": "2.4"},
    }  # fmt: skip


@frozen
class Answer:
    """The answer to a request."""

    status: int
    headers: dict[str, str]
    text: str


async def get(app: Any, address: str, query: Any = ()) -> Answer:
    """What the application answers, on this event loop."""
    path, _, more = address.partition("?")
    messages: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(_scope(path, [*parse_qsl(more), *dict(query).items()], {}), receive, send)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    body = b"".join(each.get("body", b"") for each in messages)
    return Answer(messages[0]["status"], headers, body.decode())


class Events:
    """One browser that watches.

    Args:
        app: The web interface.
        path: Path of the stream.
        query: Its parameters.
        headers: Headers of the request.
    """

    def __init__(self, app: Any, path: str, query: Any = (), headers: dict[str, str] | None = None) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._gone = asyncio.Event()
        scope = _scope(path, query, headers or {})
        self._asked = False
        self._task = asyncio.create_task(app(scope, self._receive, self._messages.put))
        self._text = ""

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def next(self, name: str = "") -> dict[str, str]:
        """The next event, or the next one of this name."""
        while True:
            while "\n\n" not in self._text:
                message = await self._messages.get()
                self._text += message.get("body", b"").decode()
            block, _, self._text = self._text.partition("\n\n")
            pairs = [line.partition(": ") for line in block.split("\n")]
            event = {field: value for field, _, value in pairs if field != "data"}
            event["data"] = "\n".join(value for field, _, value in pairs if field == "data")
            if event.get("event") and name in ("", event["event"]):
                return event

    async def end(self) -> None:
        """Wait until the server ends the stream."""
        await self._task

    async def aclose(self) -> None:
        """Close the connection."""
        self._gone.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
