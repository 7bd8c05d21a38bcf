"""Authentication: each request has a user, or is refused."""

from __future__ import annotations

import inspect
import time
from math import ceil
from typing import TYPE_CHECKING, Final

from starlette.requests import HTTPConnection

from asynq.runtime.logs import get_logger
from asynq.web.refusals import refusal
from asynq.web.security.addresses import is_loopback, site_of
from asynq.web.security.failed_logins import FailedLogins
from asynq.web.security.proxies import CLIENT, PROXIED
from asynq.web.security.users import BasicAuthentication, User, UserRole, basic_credentials

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from asynq.web.security.users import Authentication
    from asynq.web.settings import WebSettings

log = get_logger("asynq.web")

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
        self._failed = FailedLogins(settings.login_rate, time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its user, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        found = await self._logged_in(connection) if self._ways else self._without_login(connection)
        if not isinstance(found, User):
            return await found(scope, receive, send)
        scope[USER] = found
        return await self._app(scope, receive, send)

    def _without_login(self, connection: HTTPConnection) -> User | Response:
        if self._insecure:
            return LOCAL_USER
        reason = ""
        if not is_loopback(connection.scope[CLIENT]):
            reason = "without authentication, only requests from this machine are answered"
        elif connection.scope[PROXIED]:
            # The proxy is on this machine, its clients may be anywhere.
            reason = "without authentication, requests that come through a proxy are not answered"
        return refusal(connection.scope, 403, "not_authenticated", reason) if reason else LOCAL_USER

    async def _logged_in(self, connection: HTTPConnection) -> User | Response:
        """Try each way in turn. After too many failures, those that read credentials are left out."""
        address = site_of(connection.scope[CLIENT])
        given = basic_credentials(connection)
        name = given[0] if given else None
        wait: float | None = None
        for way in self._ways:
            guessed = _reads_credentials(way, connection)
            if guessed and wait is None:
                wait = self._failed.begin(address, name)
            if guessed and wait:
                continue
            found = way.authenticate(connection)
            user = await found if inspect.isawaitable(found) else found
            if user is not None:
                if guessed:
                    self._failed.succeeded(address, name)
                return user
        if wait:
            headers = [("Retry-After", str(ceil(wait)))]
            reason = "too many failed logins: wait"
            return refusal(connection.scope, 429, "too_many_failed_logins", reason, headers)
        if wait is not None:
            log.warning("failed login: user=%s address=%s", self._shown(name), address)
        return self._challenge(connection)

    def _challenge(self, connection: HTTPConnection) -> Response:
        headers = [("WWW-Authenticate", way.challenge) for way in self._ways if way.challenge]
        reason = "credentials are missing or wrong"
        return refusal(connection.scope, 401, "not_authenticated", reason, headers)

    def _shown(self, name: str | None) -> str:
        """The name for the log. What is no name of a user may be a secret in the wrong place."""
        ways = (way for way in self._ways if isinstance(way, BasicAuthentication))
        known = any(name in way.names for way in ways)
        return repr(name) if known else "unknown"


def _reads_credentials(way: Authentication, connection: HTTPConnection) -> bool:
    """Whether a request has an Authorization header of the scheme that a way asks for."""
    asked, given = way.challenge.split(), connection.headers.get("authorization", "").split(maxsplit=1)
    return bool(asked and given) and asked[0].lower() == given[0].lower()
