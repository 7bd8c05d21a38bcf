"""Bodies of requests: read whole, up to a size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.web.refusals import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asynq.web.settings import WebSettings

BODY: Final = "asynq.body"
"""Key of the body in the scope of a request."""


class BodiesMiddleware:
    """Reads the body of a request before anything decides about it. Refuses a longer one than allowed."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._limit = settings.max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._limit:
                reason = f"the body of the request is longer than {self._limit} bytes"
                return await refusal(scope, 413, "body_too_large", reason)(scope, receive, send)
        scope[BODY] = bytes(body)
        return await self._app(scope, _replayed(scope[BODY], receive), send)


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
