"""Heartbeats: servers and schedulers write their record again before it expires."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.runtime import timeouts
from asynq.runtime.backoff import ErrorReporter
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.ops import Op

log = get_logger("asynq.loops")

DEREGISTER_TIMEOUT = 1.0
"""Seconds a shutdown waits to be seen no more."""
UNREACHABLE_DEREGISTER_TIMEOUT = 0.2
"""The same of a broker that does not answer."""


def host() -> str:
    """Name of this machine."""
    return socket.gethostname() or "unknown-host"


class Heartbeat:
    """Each step writes what `beat` answers, the end of it what `last` is. `time` is told to `beat` before."""

    def __init__(
        self, broker: Broker, beat: Callable[[], Op[None]], last: Op[None], time: BrokerTime
    ) -> None:
        self._broker = broker
        self._time = time
        self._beat = beat
        self._last = last
        self._troubles = ErrorReporter(log, "the heartbeat")

    async def step(self) -> float | None:
        """Be seen. A broker that is away is the loop's matter, one that refuses is logged once."""
        try:
            await self._time.sync(self._broker)
            await self._broker.aexecute(self._beat())
        except BrokerUnavailable:
            raise
        except AsynqError as error:
            self._troubles.failed(error)
        else:
            self._troubles.worked()
        return None

    async def end(self, *, answered: bool = True) -> None:
        """Remove the record. If the broker does not take that, the record expires on its own.

        answered: the broker answered until now; else there is little use in waiting for it.
        """
        try:
            async with timeouts.timeout(DEREGISTER_TIMEOUT if answered else UNREACHABLE_DEREGISTER_TIMEOUT):
                await self._broker.aexecute(self._last)
        except TimeoutError:
            log.info("the record of this process expires on its own: the broker does not answer in time")
        except AsynqError as error:
            log.info("the record of this process expires on its own: %s", error)
