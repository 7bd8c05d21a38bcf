"""The broker: what it is, how it is doing, and what the doctor finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.broker import get_broker
from asynq.web.api.doctor import examine_broker
from asynq.web.api.endpoint import Nothing
from asynq.web.api.http import call_of
from asynq.web.api.shapes import utc_now
from asynq.web.pages.rendering import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def broker_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    return page(request, call, "broker.html", facts=await get_broker(call, Nothing()))


async def doctor_page(request: Request) -> Response:
    """What is damaged."""
    call = call_of(request)
    found, queues = await examine_broker(call, Nothing()), await call.web.inspector.queues()
    return page(request, call, "doctor.html", found=found, queues=len(queues), checked=utc_now())
