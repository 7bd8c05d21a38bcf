"""Runs an operation on each queue of a server. A queue that fails does not affect the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from asynq.errors import AsynqError
from asynq.runtime.error_reporter import ErrorReporter
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
"""Maximum number of queues per step of a loop, so that an idle server with very many queues is cheap."""


class QueueRotation:
    """Rotates through the queues of a server: all at once or, if there are very many, one part at a time."""

    def __init__(self, queues: Sequence[str]) -> None:
        self._queues = queues
        self._next = 0

    def take(self) -> Sequence[str]:
        """Return the next part. After the last part, the first one follows."""
        part = self._queues[self._next : self._next + MAX_QUEUES_PER_STEP]
        self._next += MAX_QUEUES_PER_STEP
        if self._next >= len(self._queues):
            self._next = 0
        return part


class QueueSweep:
    """Sends one operation per queue in a single request, and logs errors per queue."""

    def __init__(self, broker: Broker, what: str) -> None:
        self._broker = broker
        self._errors = ErrorReporter(log, what)

    async def run(self, ops: Mapping[str, Op[T]]) -> dict[str, T]:
        """Send the operations. Errors of single queues are logged.

        Returns:
            The results by queue, without queues that failed.

        Raises:
            BrokerUnavailable: the broker could not be reached at all.
        """
        answered: dict[str, T] = {}
        if not ops:
            return answered
        for queue, answer in zip(
            ops, await execute_isolated(AwaitedCalls(self._broker), list(ops.values())), strict=True
        ):
            if isinstance(answer, AsynqError):
                self._errors.failed(answer, queue)
            else:
                self._errors.worked(queue)
                answered[queue] = answer
        return answered
