"""Reads who may use the web interface, from a file in TOML and from the environment.

Secrets are in neither the command line nor the URL, where other users of the machine could read them.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from asynq.web.security.users import (
    Authentication,
    BasicAuthentication,
    BearerAuthentication,
    ProxyAuthentication,
    UserRole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PASSWORD_VARIABLE = "ASYNQ_WEB_PASSWORD"
"""Environment variable: the password of the operator `admin`."""
TOKEN_VARIABLE = "ASYNQ_WEB_TOKEN"
"""Environment variable: a bearer token of an operator."""
ADMIN = "admin"


def read_authentication(file: Path | None, environment: Mapping[str, str]) -> tuple[Authentication, ...]:
    """The ways to authenticate that a file and the environment name; () if they name none.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is malformed.
    """
    try:
        given = {} if file is None else tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    users = _secrets(given, "users", "password")
    tokens = _secrets(given, "tokens", "token")
    if password := environment.get(PASSWORD_VARIABLE):
        users[ADMIN] = (password, UserRole.OPERATOR)
    if token := environment.get(TOKEN_VARIABLE):
        tokens[ADMIN] = (token, UserRole.OPERATOR)
    ways: list[Authentication] = []
    if users:
        ways.append(BasicAuthentication(users))
    if tokens:
        ways.append(BearerAuthentication(tokens))
    if proxy := given.pop("proxy", None):
        try:
            ways.append(ProxyAuthentication(**proxy))
        except TypeError:
            raise ValueError("[proxy] has addresses, and may have header, operators and role") from None
    if given:
        raise ValueError(f"there is no setting {next(iter(given))!r}: use users, tokens and proxy")
    if file is not None and not ways:
        raise ValueError(f"{file} names no users, tokens or proxy")
    return tuple(ways)


def _secrets(given: dict[str, Any], table: str, key: str) -> dict[str, tuple[str, UserRole]]:
    """The secret and the role by name. A secret is never part of an error."""
    found = {}
    rows = given.pop(table, {})
    for name, row in rows.items() if isinstance(rows, dict) else [("?", rows)]:
        if not isinstance(row, dict) or not row.keys() <= {key, "role"}:
            raise ValueError(f"[{table}.{name}] has {key} and role, and nothing else")
        secret, role = row.get(key), row.get("role", UserRole.VIEWER)
        if not isinstance(secret, str) or not secret:
            raise ValueError(f"[{table}.{name}] must have a {key}")
        if role not in list(UserRole):
            raise ValueError(f"role of [{table}.{name}] must be one of {', '.join(UserRole)}; it is {role!r}")
        found[name] = (secret, UserRole(role))
    return found
