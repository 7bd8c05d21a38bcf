"""The broker: what it is and what it supports."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.errors import UnsupportedOperationError
from asynq.protocol.broker_info import BrokerInfo  # noqa: TC001 - msgspec reads the annotations
from asynq.protocol.ops import Ping
from asynq.web.api.endpoint import Nothing, endpoint

if TYPE_CHECKING:
    from asynq.web.call import WebCall


MAX_PLACES = 1000
"""Queues whose places are shown."""


class BrokerFacts(Struct, kw_only=True):
    """What a broker is."""

    backend: str
    durability: str
    """What an acknowledged write survives: "none", "process", "power" or "replicated"."""
    multi_process: bool
    wakeup: str
    unsupported: list[str]
    """Operations that it does not support."""
    max_value_bytes: int | None
    """The most bytes of a payload or a result."""
    time_msec: int
    """Its clock, in Unix milliseconds."""
    round_trip_msec: float
    """How long it took to answer."""
    info: BrokerInfo | None
    """The store: its nodes, their memory, and where queues are. Null if the broker does not describe it."""


@endpoint("GET", "/broker", asked=Nothing, answer=BrokerFacts)
async def get_broker(call: WebCall, asked: Nothing) -> BrokerFacts:
    """What the broker is and what it supports, and how fast it answers."""
    broker = call.web.broker
    began = monotonic()
    time = await broker.aexecute(Ping())
    took = monotonic() - began
    capabilities = broker.capabilities
    return BrokerFacts(
        backend=capabilities.backend,
        durability=capabilities.durability,
        multi_process=capabilities.multi_process,
        wakeup=capabilities.wakeup,
        unsupported=sorted(each.__name__ for each in capabilities.unsupported),
        max_value_bytes=capabilities.max_value_bytes,
        time_msec=time,
        round_trip_msec=round(took * 1000, 3),
        info=await _info(call),
    )


async def _info(call: WebCall) -> BrokerInfo | None:
    try:
        queues = await call.web.inspector.queues()
        return await call.web.inspector.broker_info(queues[:MAX_PLACES])
    except UnsupportedOperationError:
        return None
