"""Errors that nothing else answers: logged, and answered without their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.runtime.logs import get_logger
from asynq.web.refusals import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = get_logger("asynq.web")


class FailuresMiddleware:
    """Answers a request whose handling raised an error."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer with an error if that raises one."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception:
            log.exception("error while answering %s %r", scope["method"], scope["path"])
            if started:
                raise
            await refusal(scope, 500, "internal_error", "an error of the server, see its log")(
                scope, receive, send
            )
        return None
