"""Who sent a request that came through proxies, and whether over TLS, as far as these are trusted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from starlette.requests import HTTPConnection

from asynq.web.security.addresses import address_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq.web.settings import WebSettings

CLIENT: Final = "asynq.client"
"""Key of the address of the client in the scope of a request; None if it is not known."""
PROXIED: Final = "asynq.proxied"
"""Key of whether the request came through a proxy, trusted or not, as far as is known."""
FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-real-ip")
"""Headers of requests that came through a proxy."""


class ProxiesMiddleware:
    """Finds the client of a request: the last one in X-Forwarded-For that is no trusted proxy.

    What stands before that one was sent by the client, who may have invented it.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._trusted = settings.trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the address of its client."""
        if scope["type"] == "http":
            connection = HTTPConnection(scope)
            peer = connection.client.host if connection.client else None
            trusted = peer in self._trusted
            scope[CLIENT] = self._client(connection, peer) if trusted else peer
            scope[PROXIED] = trusted or any(name in connection.headers for name in FORWARDED)
            if trusted and connection.headers.get("x-forwarded-proto", "").lower() == "https":
                scope["scheme"] = "https"
        await self._app(scope, receive, send)

    def _client(self, connection: HTTPConnection, peer: str | None) -> str | None:
        client = peer
        chain = ",".join(connection.headers.getlist("x-forwarded-for")).split(",")
        for each in reversed(chain):
            host = _without_port(each.strip())
            if address_of(host) is None:
                break
            client = host
            if host not in self._trusted:
                break
        return client


def _without_port(text: str) -> str:
    found = re.fullmatch(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+", text, re.ASCII)
    return (found[1] or found[2] or "") if found else text
