"""Protection against requests that another site makes a browser send.

A request that changes something must come from our own pages, as far as its headers say, and must carry a
token. The token is signed and belongs to the user and to a cookie that other sites' requests do not carry.
Requests whose credentials no browser sends by itself need no token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

from asynq.web.refusals import refusal
from asynq.web.security.authentication import USER
from asynq.web.security.bodies import BODY

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asynq.web.security.users import User
    from asynq.web.settings import WebSettings

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
TOKEN_HEADER: Final = "X-CSRF-Token"
TOKEN_FIELD: Final = "csrf_token"
"""Name of the token in a form."""
COOKIE: Final = "asynq_csrf"
TOKEN: Final = "asynq.csrf"
"""Key of the token in the scope of a request, for pages and the API to show."""
_FORM = "application/x-www-form-urlencoded"


class CSRFMiddleware:
    """Refuses what another site may have sent, and gives each page its token."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        self._app = app
        self._secret = settings.secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        connection = HTTPConnection(scope)
        user: User = scope[USER]
        nonce = connection.cookies.get(COOKIE, "")
        known = re.fullmatch("[0-9a-f]{32}", nonce) is not None
        if _is_part_of_another_site(connection):
            reason = "another site's page may link here, but not load anything"
            return await refusal(scope, 403, "cross_site_request", reason)(scope, receive, send)
        if scope["method"] not in SAFE_METHODS:
            if reason := _foreign(connection):
                return await refusal(scope, 403, "cross_site_request", reason)(scope, receive, send)
            given = _given_token(connection, scope.get(BODY, b""))
            if user.ambient and not (known and self._is_token(given, nonce, user)):
                reason = (
                    "the token against cross-site requests is missing or old: load the page again. "
                    f"Programs send {TOKEN_HEADER} and the cookie of GET /api/session, or a bearer token"
                )
                return await refusal(scope, 403, "csrf_token", reason)(scope, receive, send)
        if not known:
            nonce = secrets.token_hex(16)
        scope[TOKEN] = self._token(nonce, user)
        return await self._app(scope, receive, send if known else _with_cookie(scope, send, nonce))

    def _token(self, nonce: str, user: User) -> str:
        return hmac.new(self._secret, f"{nonce} {user.name}".encode(), hashlib.sha256).hexdigest()

    def _is_token(self, given: str, nonce: str, user: User) -> bool:
        return hmac.compare_digest(given.encode(), self._token(nonce, user).encode())


def _foreign(connection: HTTPConnection) -> str:
    """Why a request may be another site's; "" if it is ours as far as its headers say."""
    site = connection.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"the request comes from another site (Sec-Fetch-Site is {site!r})"
    origin = connection.headers.get("origin")
    if origin is not None and _host_of(origin) != connection.headers.get("host", "").lower():
        return "the origin of the request is not the host that it was sent to (a proxy must pass on Host)"
    return ""


def _is_part_of_another_site(connection: HTTPConnection) -> bool:
    """Whether a page of another site loads this, as an image, a stream or a script.

    It cannot read the answer. But each takes time and a connection, and its duration may tell something.
    """
    headers = connection.headers
    if headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
        return False
    return headers.get("sec-fetch-mode") != "navigate" or headers.get("sec-fetch-dest") != "document"


def _host_of(origin: str) -> str | None:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return None
    return parts.netloc if parts.scheme in ("http", "https") else None


def _given_token(connection: HTTPConnection, body: bytes) -> str:
    if token := connection.headers.get(TOKEN_HEADER):
        return token
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return ""
    return parse_qs(body.decode("utf-8", "replace")).get(TOKEN_FIELD, [""])[0]


def _with_cookie(scope: Scope, send: Send, nonce: str) -> Send:
    """Set the cookie with the answer. It keeps its value until the browser ends."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            path = quote(scope.get("root_path", "")) or "/"
            secure = "; Secure" if scope.get("scheme") == "https" else ""
            cookie = f"{COOKIE}={nonce}; Path={path}; HttpOnly; SameSite=Lax{secure}"
            MutableHeaders(scope=message).append("Set-Cookie", cookie)
        await send(message)

    return sending
