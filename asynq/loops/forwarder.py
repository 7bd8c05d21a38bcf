"""Moves scheduled and retried tasks to their queues when they are due."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.loops.sweep import Sweep
from asynq.ops import MAX_BATCH, Forward

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.broker import Broker
    from asynq.broker_time import BrokerTime

NEAR = 0.2
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
        self._broker = broker
        self._time = time
        self._sweep = Sweep(broker, "forwarding due tasks")
        self._forwarded = forwarded
        self._poll = poll

    async def step(self) -> float | None:
        """Move every due task; seconds until the next is due, or until it is time to look again."""
        waiting, dues = self._queues, list[int]()
        while waiting:
            answers = await self._sweep.run({queue: Forward(queue=queue) for queue in waiting})
            if any(answer.moved for answer in answers.values()):
                self._forwarded()
            waiting = [queue for queue, answer in answers.items() if answer.moved >= MAX_BATCH]
            dues += (
                answer.next_due
                for queue, answer in answers.items()
                if answer.next_due is not None and queue not in waiting
            )
        pause = self._poll()
        if dues:
            with suppress(BrokerUnavailable):
                await self._time.follow(self._broker)
            pause = min(pause, (min(dues) - self._time.now()) / 1000)
        return max(pause, NEAR)
