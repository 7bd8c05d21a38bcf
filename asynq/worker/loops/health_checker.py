"""Asks the broker for a sign of life, for whoever wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq.protocol.ops import Ping

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker


class HealthChecker:
    """Each step tells how the broker answered: None for a sign of life, else its error."""

    def __init__(self, broker: Broker, checked: Callable[[AsynqError | None], None], interval: float) -> None:
        """`interval` is the seconds between two steps."""
        self._broker = broker
        self._checked = checked
        self._interval = interval

    async def step(self) -> float:
        """Ask once, and tell."""
        try:
            await self._broker.aexecute(Ping())
        except AsynqError as error:
            self._checked(error)
        else:
            self._checked(None)
        return self._interval
