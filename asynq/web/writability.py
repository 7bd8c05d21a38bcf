"""Whether the broker takes changes: a read-only replica does not."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from asynq.errors import AsynqError
from asynq.runtime.timeouts import timeout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq.protocol.broker_info import BrokerInfo

INTERVAL: Final = 30.0
"""Seconds for which a look at the broker counts: a replica may become the primary."""
PATIENCE: Final = 1.0
"""Seconds that a look may take."""


class Writability:
    """Looks from time to time whether the broker is a read-only replica.

    Args:
        describe: Describes the broker.
        now: A clock in seconds that nobody sets.
    """

    def __init__(self, describe: Callable[[], Awaitable[BrokerInfo]], now: Callable[[], float]) -> None:
        self._describe = describe
        self._now = now
        self._looked_at: float | None = None
        self._reason = ""

    @property
    def reason(self) -> str:
        """Why nothing can be changed; "" if things can, or if that is not known."""
        return self._reason

    async def refresh(self) -> None:
        """Look again, unless that was done lately. A broker that cannot be reached changes nothing."""
        now = self._now()
        if self._looked_at is not None and now - self._looked_at < INTERVAL:
            return
        self._looked_at = now
        with suppress(AsynqError, TimeoutError):
            async with timeout(PATIENCE):
                self._reason = _reason(await self._describe())


def _reason(info: BrokerInfo) -> str:
    node = info.nodes[0] if info.nodes else None
    if info.topology != "standalone" or node is None or node.role != "replica":
        return ""
    return f"the broker at {node.address} is a read-only replica of {node.primary}: use that one for changes"


class WritabilityMiddleware:
    """Looks before each request is answered, so that pages do not offer what cannot be done."""

    def __init__(self, app: ASGIApp, writability: Writability) -> None:
        self._app = app
        self._writability = writability

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and "/static/" not in scope["path"]:
            await self._writability.refresh()
        await self._app(scope, receive, send)
