"""Enqueues the tasks that follow tasks which have succeeded, whoever ran them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.client.delivery import deliver
from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import MAX_BATCH, TakeParents
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls
from asynq.worker.loops.queue_agenda import QueueAgenda
from asynq.worker.loops.queue_sweep import QueueSweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import StoredTask

log = get_logger("asynq.loops")

INTERVAL: Final = 30.0
"""Seconds within which each queue is asked for parents that no worker of ours has completed or delivered."""
BUSY_INTERVAL: Final = 5.0
"""The same while there are some."""
HOLD: Final = 30_000
"""Milliseconds after which another server enqueues the followers of a parent, if this one is lost."""


class FollowerDelivery:
    """Each step enqueues what follows the parents of the queues. Returns the seconds until the next step.

    Args:
        broker: the broker.
        queues: the queues of the server.
        time: the broker's time.
    """

    def __init__(self, broker: Broker, queues: Sequence[str], time: BrokerTime) -> None:
        self._broker = broker
        self._calls = AwaitedCalls(broker)
        self._time = time
        self._found = False
        self._holds: dict[str, int] = {}
        """By queue, when the last hold ends of a parent that was taken and may still be there."""
        interval = lambda: BUSY_INTERVAL if self._found else INTERVAL  # noqa: E731 - one use, of this object
        self._agenda = QueueAgenda(queues, interval, time)
        self._sweep = QueueSweep(broker, "looking for tasks that others follow")
        self._errors = ErrorReporter(log, "enqueuing followers")

    def mark(self, queue: str) -> None:
        """Ask this queue in the next step: a parent was completed."""
        self._agenda.mark(queue)

    async def step(self) -> float | None:
        """Enqueue the followers of all parents that nobody holds."""
        waiting = self._agenda.take()
        self._found = False
        while waiting:
            try:
                taken = await self._sweep.run(
                    {queue: TakeParents(queue=queue, hold=HOLD) for queue in waiting}
                )
            except BrokerUnavailable:
                self._agenda.mark_all(waiting)
                raise
            for queue in waiting:
                self._plan(queue, held=bool(taken.get(queue, True)))
            for queue, parents in taken.items():
                if parents:
                    await self._deliver(queue, parents)
            waiting = [queue for queue, parents in taken.items() if len(parents) >= MAX_BATCH]
        return await self._agenda.pause(self._broker)

    def _plan(self, queue: str, *, held: bool) -> None:
        """Ask the queue again when a hold ends: of a parent that this step took, or an earlier one did."""
        now = self._time.now()
        if held:
            self._found = True
            self._holds[queue] = now + HOLD + 1000
        if (end := self._holds.get(queue)) is None:
            return
        if end > now:
            self._agenda.plan(queue, end)
        else:
            del self._holds[queue]

    async def _deliver(self, queue: str, parents: Sequence[StoredTask]) -> None:
        refused = await deliver(self._calls, parents)
        for refusal in refused:
            self._errors.failed(refusal, queue)
        if not refused:
            self._errors.worked(queue)
