"""A web interface to queues, tasks, servers and schedules, and its JSON API. Needs the extra `web`."""

from __future__ import annotations

from asynq.web.app import create_app
from asynq.web.security.users import (
    Authentication,
    BasicAuthentication,
    BearerAuthentication,
    ProxyAuthentication,
    User,
    UserRole,
)

__all__ = [
    "Authentication",
    "BasicAuthentication",
    "BearerAuthentication",
    "ProxyAuthentication",
    "User",
    "UserRole",
    "create_app",
]
