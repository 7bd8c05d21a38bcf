"""Moves scheduled and retried tasks to their queues when they are due."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import MAX_BATCH, Forward
from asynq.worker.loops.queue_sweep import QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime

ROTATION_INTERVAL = 1.0
"""Seconds between two turns of a server of very many queues, see `QueueRotation`."""
MIN_PAUSE = 0.2
"""Shortest pause in seconds: a time that is ahead of the broker's must not make us ask in a hot loop."""


class Forwarder:
    """Each step moves what is due and answers how long nothing else will be."""

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        *,
        forwarded: Callable[[], None],
        poll: Callable[[], float],
        time: BrokerTime,
    ) -> None:
        """`forwarded` is called when tasks were made pending; `poll`: seconds until the next look at most."""
        self._queues = queues
        self._turns = QueueRotation(queues)
        self._turn_at = 0.0
        self._marked = set[str]()
        self._dues: dict[str, int] = {}
        """When the next task of a queue is due, of queues where one is."""
        self._broker = broker
        self._time = time
        self._sweep = QueueSweep(broker, "forwarding due tasks")
        self._forwarded = forwarded
        self._poll = poll

    def mark(self, queue: str | None) -> None:
        """Look at this queue in the next step, whosever turn it is; None: at all of them."""
        if queue is None:
            self._marked.update(self._queues)
        else:
            self._marked.add(queue)

    async def step(self) -> float | None:
        """Move every due task; seconds until the next is due, or until it is time to look again."""
        waiting = self._waiting()
        while waiting:
            try:
                answers = await self._sweep.run({queue: Forward(queue=queue) for queue in waiting})
            except BrokerUnavailable:
                self._marked.update(waiting)
                raise
            if any(answer.moved for answer in answers.values()):
                self._forwarded()
            for queue in waiting:
                self._dues.pop(queue, None)
            waiting = [queue for queue, answer in answers.items() if answer.moved >= MAX_BATCH]
            self._dues |= {
                queue: answer.next_due
                for queue, answer in answers.items()
                if answer.next_due is not None and queue not in waiting
            }
        return await self._pause()

    def _waiting(self) -> Sequence[str]:
        """Queues to look at now: those marked, those with a task that is due, and those whose turn it is."""
        marked, self._marked = self._marked, set()
        now = asyncio.get_running_loop().time()
        turn: Sequence[str] = ()
        if now >= self._turn_at:
            turn = self._turns.take()
            if len(turn) < len(self._queues):
                self._turn_at = now + ROTATION_INTERVAL
        marked.update(queue for queue, due in self._dues.items() if due <= self._time.now())
        return [*turn, *marked.difference(turn)]

    async def _pause(self) -> float:
        pause = self._poll()
        if self._turn_at:
            pause = min(pause, ROTATION_INTERVAL)
        if self._dues:
            with suppress(BrokerUnavailable):
                await self._time.sync(self._broker)
            pause = min(pause, (min(self._dues.values()) - self._time.now()) / 1000)
        return max(pause, MIN_PAUSE)
