"""Who asks, and what this web interface is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

import asynq
from asynq.protocol.ops import Ping
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.security.users import UserRole  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from asynq.web.call import WebCall


class Session(Struct, kw_only=True):
    """The user, and what the user may do."""

    user: str
    role: UserRole
    may_change: bool
    """Whether the user may change anything here."""
    read_only: bool
    csrf_token: str
    """To be sent in the header X-CSRF-Token, with the cookie of this answer, with each request that changes
    something. Requests with a bearer token do without."""
    version: str
    backend: str


class Health(Struct, kw_only=True):
    """Whether the broker answers."""

    ok: bool


@endpoint("GET", "/session", asked=Nothing, answer=Session)
async def get_session(call: WebCall, asked: Nothing) -> Session:
    """The user who asks, and the token for requests that change something."""
    return Session(
        user=call.user.name,
        role=call.user.role,
        may_change=call.operates,
        read_only=call.web.settings.read_only,
        csrf_token=call.csrf_token,
        version=asynq.__version__,
        backend=call.web.broker.capabilities.backend,
    )


@endpoint("GET", "/health", asked=Nothing, answer=Health)
async def get_health(call: WebCall, asked: Nothing) -> Health:
    """Whether the broker answers."""
    await call.web.broker.aexecute(Ping())
    return Health(ok=True)
