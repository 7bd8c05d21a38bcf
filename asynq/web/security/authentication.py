"""Authentication: each request has a user, or is refused."""

from __future__ import annotations

import inspect
import ipaddress
from typing import TYPE_CHECKING, Final

from starlette.requests import HTTPConnection

from asynq.web.refusals import refusal
from asynq.web.security.users import User, UserRole

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq.web.settings import WebSettings

LOCAL_USER: Final = User("local", UserRole.OPERATOR)
"""Who works without authentication."""
USER: Final = "asynq.user"
"""Key of the user in the scope of a request."""


class AuthenticationMiddleware:
    """Finds the user of a request.

    Without any way to authenticate, everyone on this machine is an operator, and nobody else is answered.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._ways = settings.authentication
        self._insecure = settings.insecure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its user, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        if not self._ways:
            if not (self._insecure or _is_local(connection)):
                reason = "without authentication, only requests from this machine are answered"
                return await refusal(scope, 403, "not_authenticated", reason)(scope, receive, send)
            user: User | None = LOCAL_USER
        else:
            user = await self._authenticate(connection)
        if user is None:
            challenges = [way.challenge for way in self._ways if way.challenge]
            headers = [("WWW-Authenticate", challenge) for challenge in challenges]
            reason = "credentials are missing or wrong"
            return await refusal(scope, 401, "not_authenticated", reason, headers)(scope, receive, send)
        scope[USER] = user
        return await self._app(scope, receive, send)

    async def _authenticate(self, connection: HTTPConnection) -> User | None:
        for way in self._ways:
            found = way.authenticate(connection)
            user = await found if inspect.isawaitable(found) else found
            if user is not None:
                return user
        return None


def _is_local(connection: HTTPConnection) -> bool:
    """Whether the client is on this machine. A server at a Unix socket has no address of it."""
    if connection.client is None:
        return True
    try:
        return ipaddress.ip_address(connection.client.host).is_loopback
    except ValueError:
        return False
