"""One operation for each of many queues, where a queue that fails does not stop the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asynq.errors import AsynqError
from asynq.runtime.backoff import ErrorReporter
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op

T = TypeVar("T")

log = get_logger("asynq.loops")


MAX_QUEUES_PER_STEP = 1000
"""Most queues one step of a loop asks about, so that a server of very many queues idles cheaply."""


class QueueRotation:
    """The queues of a server in turns: all of them at once or, where they are very many, a part a time."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues = queues
        self._next = 0

    def take(self) -> Sequence[str]:
        """The next part; the first one again when all had their turn."""
        part = self._queues[self._next : self._next + MAX_QUEUES_PER_STEP]
        self._next += MAX_QUEUES_PER_STEP
        if self._next >= len(self._queues):
            self._next = 0
        return part


class QueueSweep:
    """Asks a broker the same of many queues at once."""

    def __init__(self, broker: Broker, what: str) -> None:
        self._broker = broker
        self._troubles = ErrorReporter(log, what)

    async def run(self, ops: Mapping[str, Op[T]]) -> dict[str, T]:
        """The answers by queue, without those of queues that failed: they are logged.

        BrokerUnavailable when no queue could be asked.
        """
        answered: dict[str, T] = {}
        if not ops:
            return answered
        for queue, answer in zip(
            ops, await execute_isolated(AwaitedCalls(self._broker), list(ops.values())), strict=True
        ):
            if isinstance(answer, AsynqError):
                self._troubles.failed(answer, queue)
            else:
                self._troubles.worked(queue)
                answered[queue] = answer
        return answered
