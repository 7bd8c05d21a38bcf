"""One operation for each of many queues, where a queue that fails does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asynq.backoff import Troubles
from asynq.errors import AsynqError
from asynq.isolation import aexecute_isolated
from asynq.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.broker import Broker
    from asynq.ops import Op

T = TypeVar("T")

log = get_logger("asynq.loops")


class Sweep:
    """Asks a broker the same of many queues at once."""

    def __init__(self, broker: Broker, what: str) -> None:
        self._broker = broker
        self._troubles = Troubles(log, what)

    async def run(self, ops: Mapping[str, Op[T]]) -> dict[str, T]:
        """The answers by queue, without those of queues that failed: they are logged.

        BrokerUnavailable when no queue could be asked.
        """
        answered: dict[str, T] = {}
        if not ops:
            return answered
        for queue, answer in zip(ops, await aexecute_isolated(self._broker, list(ops.values())), strict=True):
            if isinstance(answer, AsynqError):
                self._troubles.failed(answer, queue)
            else:
                self._troubles.worked(queue)
                answered[queue] = answer
        return answered
