"""The Host header: only names that are known, so that no other site can point its own name at this server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

from asynq.web.refusals import refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq.web.settings import WebSettings


_SHOWN = 253
"""Characters of a host that are shown: as long as names may be."""


class HostsMiddleware:
    """Refuses requests for hosts that are not among those of the settings."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._option = settings.hosts_option
        self._hosts = frozenset(host.lower() for host in settings.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "http" and "*" not in self._hosts:
            given = HTTPConnection(scope).headers.getlist("host")
            known = len(given) == 1 and host_name(given[0]) in self._hosts
            if not known and not _is_style(scope):
                host = repr(host_name(given[0])[:_SHOWN]) if len(given) == 1 else "that is asked for"
                reason = f"the host {host} is not one of this server's: name it with {self._option}"
                return await refusal(scope, 421, "unknown_host", reason)(scope, receive, send)
        return await self._app(scope, receive, send)


def _is_style(scope: Scope) -> bool:
    """Whether a request is for the style of the page with the refusal, which any asynq has."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return scope["method"] in ("GET", "HEAD") and bool(path == "/static/asynq.css")


def host_name(host: str) -> str:
    """The host without its port, in lower case."""
    name, colon, port = host.strip().lower().rpartition(":")
    return name if colon and port.isdecimal() else host.strip().lower()
