"""Addresses and bodies of requests: up to a size, and bodies within a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.runtime.timeouts import timeout
from asynq.web.refusals import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asynq.web.settings import WebSettings

BODY: Final = "asynq.body"
"""Key of the body in the scope of a request."""


class BodiesMiddleware:
    """Reads the body of a request before anything decides about it. Refuses what is too long or slow."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._max_address = settings.max_address
        self._max_body = settings.max_body
        self._seconds = settings.body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if len(scope["path"]) + len(scope["query_string"]) > self._max_address:
            reason = f"the address is longer than {self._max_address} bytes"
            return await refusal(scope, 414, "address_too_long", reason)(scope, receive, send)
        try:
            async with timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            reason = f"the body of the request did not arrive within {self._seconds:g} seconds"
            headers = [("Connection", "close")]
            return await refusal(scope, 408, "body_too_slow", reason, headers)(scope, receive, send)
        if body is None:
            return None
        if len(body) > self._max_body:
            reason = f"the body of the request is longer than {self._max_body} bytes"
            return await refusal(scope, 413, "body_too_large", reason)(scope, receive, send)
        scope[BODY] = body
        return await self._app(scope, _replayed(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or the beginning of one that is too long; None if the client has gone."""
        body = bytearray()
        more = True
        while more and len(body) <= self._max_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What `receive` answers when the body has been read: the body once more, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
