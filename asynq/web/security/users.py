"""Users and their roles, and the ways to authenticate them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from asynq.checks import check_name
from asynq.web.security.addresses import Addresses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from starlette.requests import HTTPConnection


class UserRole(StrEnum):
    """What a user may do."""

    VIEWER = "viewer"
    """Read everything."""
    OPERATOR = "operator"
    """Change everything, too."""


@frozen
class User:
    """Who sends a request."""

    name: str
    role: UserRole
    ambient: bool = True
    """False if no browser sends these credentials by itself, so that no other site can make one use them."""

    @property
    def operates(self) -> bool:
        """Whether the user may change things."""
        return self.role is UserRole.OPERATOR


class Authentication(Protocol):
    """A way to authenticate. An application that has users of its own implements it."""

    challenge: str
    """The WWW-Authenticate header of an answer to a request without credentials; "" for none. Failed attempts
    with the scheme that it names are limited."""

    def authenticate(self, connection: HTTPConnection, /) -> User | Awaitable[User | None] | None:
        """The user of a request; None if its credentials are missing or wrong, or for another way."""
        ...


class BasicAuthentication:
    """Names and passwords, as browsers ask for them. Use it behind TLS: they are sent with each request.

    Args:
        users: Password and role by name.
    """

    challenge = 'Basic realm="asynq", charset="UTF-8"'

    def __init__(self, users: Mapping[str, tuple[str, UserRole | str]]) -> None:
        self._users = {}
        for name, (password, role) in users.items():
            check_name("name", name)
            check_name("password", password)
            if ":" in name:
                raise ValueError(f"a name must not contain a colon; it is {name!r}")
            self._users[name] = (_digest(password), UserRole(role))

    def authenticate(self, connection: HTTPConnection, /) -> User | None:
        """See `Authentication`."""
        given = basic_credentials(connection)
        if given is None:
            return None
        name, password = given
        # An unknown name takes as long as a wrong password.
        known, role = self._users.get(name, (_NO_DIGEST, UserRole.VIEWER))
        return User(name, role) if hmac.compare_digest(_digest(password), known) else None

    @property
    def names(self) -> Collection[str]:
        """The names of all users."""
        return self._users.keys()


class BearerAuthentication:
    """Tokens for programs, in the header `Authorization: Bearer TOKEN`.

    Args:
        tokens: Token and role by the name that the audit shows.
    """

    challenge = 'Bearer realm="asynq"'

    def __init__(self, tokens: Mapping[str, tuple[str, UserRole | str]]) -> None:
        self._tokens = []
        for name, (token, role) in tokens.items():
            check_name("name", name)
            check_name("token", token)
            self._tokens.append((_digest(token), User(name, UserRole(role), ambient=False)))

    def authenticate(self, connection: HTTPConnection, /) -> User | None:
        """See `Authentication`."""
        given = _digest(_credentials(connection, "bearer"))
        found = [user for digest, user in self._tokens if hmac.compare_digest(digest, given)]
        return found[0] if found else None


class ProxyAuthentication:
    """A header in which a proxy names the user that it authenticated.

    Args:
        addresses: Addresses or networks of the proxy, such as "10.0.0.7" or "10.0.0.0/24"; "unix" for a
            proxy that connects to a Unix socket. The header is ignored from any other address. The proxy must
            remove the header from what its clients send.
        header: Name of the header.
        operators: Names of the users that are operators.
        role: The role of all others; None to refuse them.
    """

    challenge = ""

    def __init__(
        self,
        addresses: Iterable[str],
        *,
        header: str = "X-Forwarded-User",
        operators: Iterable[str] = (),
        role: UserRole | str | None = UserRole.VIEWER,
    ) -> None:
        check_name("header", header)
        given = [addresses] if isinstance(addresses, str) else list(addresses)
        if not given:
            raise ValueError("addresses must name the proxy")
        self._proxies = Addresses(given)
        self._header = header
        self._operators = frozenset(operators)
        self._role = None if role is None else UserRole(role)

    def authenticate(self, connection: HTTPConnection, /) -> User | None:
        """See `Authentication`."""
        names = connection.headers.getlist(self._header)
        peer = connection.client.host if connection.client else None
        if len(names) != 1 or not names[0].strip() or peer not in self._proxies:
            return None
        name = names[0].strip()
        role = UserRole.OPERATOR if name in self._operators else self._role
        return None if role is None else User(name, role)


def basic_credentials(connection: HTTPConnection) -> tuple[str, str] | None:
    """The name and the password that a request carries; None if it has none, or they are malformed."""
    try:
        decoded = base64.b64decode(_credentials(connection, "basic"), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    name, colon, password = decoded.partition(":")
    return (name, password) if colon else None


def _credentials(connection: HTTPConnection, scheme: str) -> str:
    given, _, credentials = connection.headers.get("authorization", "").partition(" ")
    return credentials.strip() if given.lower() == scheme else ""


def _digest(secret: str) -> bytes:
    """All digests are of one length, so that their comparison says nothing of the secret's."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


_NO_DIGEST = bytes(32)
"""Of no secret."""
