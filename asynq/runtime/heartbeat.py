"""Heartbeat of servers and schedulers: renews their record in the broker and removes it at shutdown."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.runtime import timeouts
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.ops import Op

log = get_logger("asynq.loops")

DEREGISTER_TIMEOUT = 1.0
"""Seconds a shutdown waits until the record is removed."""
UNREACHABLE_DEREGISTER_TIMEOUT = 0.2
"""The same, if the broker did not answer before."""


def host() -> str:
    """The name of this machine."""
    return socket.gethostname() or "unknown-host"


class Heartbeat:
    """Writes the record of a server or scheduler at each step, and removes it at the end.

    Args:
        broker: the broker.
        beat: returns the operation that writes the record. `time` is known when it is called.
        last: the operation that removes the record.
        time: the broker's time.
    """

    def __init__(
        self, broker: Broker, beat: Callable[[], Op[None]], last: Op[None], time: BrokerTime
    ) -> None:
        self._broker = broker
        self._time = time
        self._beat = beat
        self._last = last
        self._errors = ErrorReporter(log, "the heartbeat")

    async def step(self) -> float | None:
        """Write the record. A refusal is logged once; BrokerUnavailable is raised for the loop to handle."""
        try:
            if not self._time.synced:
                await self._time.sync(self._broker)
            await self._broker.aexecute(self._beat())
        except BrokerUnavailable:
            raise
        except AsynqError as error:
            self._errors.failed(error)
        else:
            self._errors.worked()
        return None

    async def end(self, *, answered: bool = True) -> None:
        """Remove the record. If the broker is unreachable, the record expires on its own.

        Args:
            answered: whether the broker answered recently. If not, this waits for a shorter time.
        """
        try:
            async with timeouts.timeout(DEREGISTER_TIMEOUT if answered else UNREACHABLE_DEREGISTER_TIMEOUT):
                await self._broker.aexecute(self._last)
        except TimeoutError:
            log.info("cannot deregister, the heartbeat expires on its own: the broker did not answer in time")
        except AsynqError as error:
            log.info("cannot deregister, the heartbeat expires on its own: %s", error)
