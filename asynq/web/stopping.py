"""The end of the server: it waits for streams, which would go on for as long as browsers watch.

An application that is mounted in another one is not told that the server stops: the lifespan of the outer one
is, and that only after the last answer has ended.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

INTERVAL: Final = 0.5
"""Seconds between two looks at the server, while requests are under way."""


class StoppingMiddleware:
    """Ends the streams once the server was told to stop."""

    def __init__(self, app: ASGIApp, close_streams: Callable[[], None]) -> None:
        self._app = app
        self._close_streams = close_streams
        self._requests = 0
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch the server meanwhile."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        self._requests += 1
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        try:
            return await self._app(scope, receive, send)
        finally:
            self._requests -= 1

    async def _watch(self) -> None:
        try:
            while self._requests and not server_stops():  # noqa: ASYNC110 - the flag is not ours
                await asyncio.sleep(INTERVAL)
            if self._requests:
                self._close_streams()
        finally:
            self._watching = None


def server_stops() -> bool:
    """Whether Uvicorn was told to stop. It handles signals with a method of the server.

    Other servers break streams off after a time of their own.
    """
    handlers = (signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT))
    return any(getattr(getattr(each, "__self__", None), "should_exit", False) is True for each in handlers)
