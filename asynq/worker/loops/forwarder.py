"""Forwarder: moves scheduled and retried tasks to their queues when they are due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import MAX_BATCH, Forward
from asynq.runtime.interval_loop import FALLBACK_POLL_INTERVAL
from asynq.worker.loops.queue_agenda import QueueAgenda
from asynq.worker.loops.queue_sweep import QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime


class Forwarder:
    """Each step moves due tasks and returns the seconds until the next task is due.

    Args:
        broker: the broker.
        queues: the queues of the server.
        on_forwarded: called with a queue to which tasks were moved.
        poll: returns the maximum number of seconds until each queue is asked again.
        time: the broker's time.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        *,
        on_forwarded: Callable[[str], None],
        poll: Callable[[], float],
        time: BrokerTime,
    ) -> None:
        self._agenda = QueueAgenda(queues, poll, time)
        self._broker = broker
        self._time = time
        self._sweep = QueueSweep(broker, "forwarding due tasks")
        self._on_forwarded = on_forwarded

    def mark(self, queue: str | None) -> None:
        """Check this queue in the next step. None: all queues."""
        self._agenda.mark(queue)

    async def step(self) -> float | None:
        """Move all due tasks. Returns the seconds until the next one is due or the next poll."""
        waiting = self._agenda.take()
        while waiting:
            try:
                answers = await self._sweep.run({queue: Forward(queue=queue) for queue in waiting})
            except BrokerUnavailable:
                self._agenda.mark_all(waiting)
                raise
            retry_at = self._time.now() + round(1000 * FALLBACK_POLL_INTERVAL)
            for queue in waiting:
                answer = answers.get(queue)
                self._agenda.plan(queue, answer.next_due if answer else retry_at)
                if answer and answer.moved:
                    self._on_forwarded(queue)
            waiting = [queue for queue, answer in answers.items() if answer.moved >= MAX_BATCH]
        return await self._agenda.pause(self._broker)
