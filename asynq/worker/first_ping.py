"""The first request of a server: whether its broker answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import Ping
from asynq.runtime import timeouts
from asynq.runtime.error_reporter import Outage
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

log = get_logger("asynq.server")

FIRST_PING_TIMEOUT = 2.0
"""Seconds `start` waits for the first reply of the broker. After that, it is retried in the background."""


async def first_ping(broker: Broker) -> Outage | None:
    """Ping the broker. Returns the outage that was logged if it does not answer.

    Raises:
        BrokerRefusedError: the broker refuses requests.
    """
    try:
        async with timeouts.timeout(FIRST_PING_TIMEOUT):
            await broker.aexecute(Ping())
    except TimeoutError:
        log.warning("cannot reach the broker, retrying: no answer within %g s", FIRST_PING_TIMEOUT)
        return Outage(log, logged=True, with_reason=False)
    except BrokerUnavailable as error:
        log.warning("cannot reach the broker, retrying: %s", error.reason)
        return Outage(log, logged=True)
    return None
