"""Rounds: all processes meet at one small queue for an instant, and the whole of what they did is judged."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

from asynq.errors import AsynqError
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq_conformance.histories.caller import Action, Rest, Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from asynq.protocol.message import Delivery
    from asynq_conformance.histories.plan import Plan

ROUND_PREFIX: Final = "round-"
"""How the queues of rounds are named."""
_EVERY: Final = 0.15
"""Seconds from one round to the next."""
_REQUESTS: Final = 4
_IDS: Final = ("a", "b", "c")


class RoundPlayer:
    """Plays one round after the other, each on a new queue, beside the players of the other processes."""

    def __init__(
        self,
        name: str,
        plan: Plan,
        rng: Random,
        epoch: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """epoch: seconds of the clock from which all processes count their rounds."""
        self.name = name
        self.plan = plan
        self.rng = rng
        self._epoch = epoch
        self._monotonic = monotonic
        self._numbers = itertools.count()

    def next_action(self) -> Action:
        """The next round."""
        elapsed = self._monotonic() - self._epoch
        number = int(elapsed / _EVERY) + 1
        yield Rest(max(number * _EVERY - elapsed, 0))
        yield from self._round(f"{ROUND_PREFIX}{number}")

    def last_action(self) -> Action:
        """Nothing is left to do."""
        yield from ()

    def _fresh(self) -> str:
        return f"{self.name}-{next(self._numbers)}"

    def _round(self, queue: str) -> Action:
        held: list[Delivery] = []
        for _ in range(_REQUESTS):
            chance = self.rng.random()
            if held and chance < 0.45:
                yield Send([self._end(held.pop())])
            elif chance < 0.7:
                yield Send([self._enqueue(queue)])
            elif chance < 0.9:
                orders = ((queue,),) * self.rng.randrange(1, 3)
                [taken] = yield Send([ops.Dequeue(orders=orders, token=self._fresh(), lease=self.plan.lease)])
                held += () if isinstance(taken, AsynqError) else taken
            elif chance < 0.95:
                yield Send([ops.GetQueueStats(queue=queue)])
            else:
                yield Send([ops.GetTask(queue=queue, task_id=self.rng.choice(_IDS))])
        for delivery in held:
            yield Send([ops.Done(delivery=delivery)])

    def _enqueue(self, queue: str) -> ops.Enqueue:
        message = TaskMessage(id=self.rng.choice(_IDS), type="round", queue=queue)
        return ops.Enqueue(message=message, enqueue_id=self._fresh())

    def _end(self, delivery: Delivery) -> ops.Op[None]:
        kind = self.rng.choice(("done", "done", "requeue", "archive"))
        if kind == "archive":
            return ops.Archive(delivery=delivery, error="e")
        return ops.Requeue(delivery=delivery) if kind == "requeue" else ops.Done(delivery=delivery)
