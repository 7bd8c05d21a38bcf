"""HealthChecker: pings the broker for the `health_check` hook of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq.protocol.ops import Ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker


class HealthChecker:
    """Pings the broker at each step and reports the result.

    Args:
        broker: the broker.
        checked: called with None if the broker answered, otherwise with its error.
        interval: seconds between two pings.
    """

    def __init__(self, broker: Broker, checked: Callable[[AsynqError | None], None], interval: float) -> None:
        self._broker = broker
        self._checked = checked
        self._interval = interval

    async def step(self) -> float:
        """Ping once and report the result."""
        try:
            await self._broker.aexecute(Ping())
        except AsynqError as error:
            self._checked(error)
        else:
            self._checked(None)
        return self._interval
