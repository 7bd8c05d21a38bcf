"""Forwarder: moves scheduled and retried tasks to their queues when they are due."""

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
"""Seconds between two parts of a server with very many queues, see `QueueRotation`."""
MIN_PAUSE = 0.2
"""Minimum pause in seconds, so that a clock ahead of the broker's does not cause a busy loop."""


class Forwarder:
    """Each step moves due tasks and returns the seconds until the next task is due.

    Args:
        broker: the broker.
        queues: the queues of the server.
        on_forwarded: called when tasks were made pending.
        poll: returns the maximum number of seconds until the next step.
        time: the broker's time.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        *,
        on_forwarded: Callable[[], None],
        poll: Callable[[], float],
        time: BrokerTime,
    ) -> None:
        self._queues = queues
        self._rotation = QueueRotation(queues)
        self._next_rotation_at = 0.0
        self._marked = set[str]()
        self._dues: dict[str, int] = {}
        """When the next task of each queue is due, in Unix milliseconds."""
        self._broker = broker
        self._time = time
        self._sweep = QueueSweep(broker, "forwarding due tasks")
        self._on_forwarded = on_forwarded
        self._poll = poll

    def mark(self, queue: str | None) -> None:
        """Check this queue in the next step, outside the rotation. None: all queues."""
        if queue is None:
            self._marked.update(self._queues)
        else:
            self._marked.add(queue)

    async def step(self) -> float | None:
        """Move all due tasks. Returns the seconds until the next one is due or the next poll."""
        waiting = self._queues_to_check()
        while waiting:
            try:
                answers = await self._sweep.run({queue: Forward(queue=queue) for queue in waiting})
            except BrokerUnavailable:
                self._marked.update(waiting)
                raise
            if any(answer.moved for answer in answers.values()):
                self._on_forwarded()
            for queue in waiting:
                self._dues.pop(queue, None)
            waiting = [queue for queue, answer in answers.items() if answer.moved >= MAX_BATCH]
            self._dues |= {
                queue: answer.next_due
                for queue, answer in answers.items()
                if answer.next_due is not None and queue not in waiting
            }
        return await self._pause()

    def _queues_to_check(self) -> Sequence[str]:
        """Queues to check now: marked queues, queues with a due task, and the next part of the rotation."""
        marked, self._marked = self._marked, set()
        now = asyncio.get_running_loop().time()
        turn: Sequence[str] = ()
        if now >= self._next_rotation_at:
            turn = self._rotation.take()
            if len(turn) < len(self._queues):
                self._next_rotation_at = now + ROTATION_INTERVAL
        marked.update(queue for queue, due in self._dues.items() if due <= self._time.now())
        return [*turn, *marked.difference(turn)]

    async def _pause(self) -> float:
        pause = self._poll()
        if self._next_rotation_at:
            pause = min(pause, ROTATION_INTERVAL)
        if self._dues:
            with suppress(BrokerUnavailable):
                await self._time.sync(self._broker)
            pause = min(pause, (min(self._dues.values()) - self._time.now()) / 1000)
        return max(pause, MIN_PAUSE)
