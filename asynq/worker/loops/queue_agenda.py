"""Decides which queues a background loop asks next, and when."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.worker.loops.queue_sweep import MAX_QUEUES_PER_STEP, QueueRotation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime

MIN_PAUSE = 0.01
"""Minimum pause in seconds, so that a clock ahead of the broker's does not cause a busy loop."""
ROTATION_INTERVAL = 1.0
"""Minimum seconds between two parts of a server with very many queues, see `QueueRotation`."""


class QueueAgenda:
    """The queues that changed, the queues with something due, and in turn all others.

    Args:
        queues: the queues of the server.
        interval: returns the seconds within which every queue is asked in any case. Very many queues take
            longer, see `ROTATION_INTERVAL`.
        time: the broker's time.
    """

    def __init__(self, queues: Sequence[str], interval: Callable[[], float], time: BrokerTime) -> None:
        self._queues = queues
        self._interval = interval
        self._time = time
        self._rotation = QueueRotation(queues)
        self._turn_began: float | None = None
        self._marked = set[str]()
        self._dues: dict[str, int] = {}

    def mark(self, queue: str | None) -> None:
        """Ask this queue in the next step, outside the rotation. None: all queues."""
        if queue is None:
            self._marked.update(self._queues)
        else:
            self._marked.add(queue)

    def mark_all(self, queues: Iterable[str]) -> None:
        """Ask these queues in the next step."""
        self._marked.update(queues)

    def plan(self, queue: str, due: int | None) -> None:
        """Ask this queue at this instant of the broker, in Unix milliseconds. None: there is no reason to."""
        if due is None:
            self._dues.pop(queue, None)
        else:
            self._dues[queue] = due

    def take(self) -> list[str]:
        """Return the queues to ask now. What was planned for them is forgotten."""
        marked, self._marked = self._marked, set()
        now = asyncio.get_running_loop().time()
        turn: Sequence[str] = ()
        if self._next_turn() <= now:
            self._turn_began, turn = now, self._rotation.take()
        due_before = self._time.now()
        marked.update(queue for queue, due in self._dues.items() if due <= due_before)
        queues = [*turn, *marked.difference(turn)]
        for queue in queues:
            self._dues.pop(queue, None)
        return queues

    @property
    def next_due(self) -> int | None:
        """The earliest planned instant."""
        return min(self._dues.values(), default=None)

    def until_turn(self) -> float:
        """Seconds until the next turn of the rotation."""
        return self._next_turn() - asyncio.get_running_loop().time()

    async def pause(self, broker: Broker, *, delay: float = 0.0) -> float:
        """Seconds until the next turn of the rotation, or `delay` seconds after the earliest planned instant.

        At least `MIN_PAUSE`.
        """
        pause = self.until_turn()
        if (due := self.next_due) is not None:
            with suppress(BrokerUnavailable):
                await self._time.sync(broker)
            pause = min(pause, (due - self._time.now()) / 1000 + delay)
        return max(pause, MIN_PAUSE)

    def _next_turn(self) -> float:
        if self._turn_began is None:
            return 0.0
        interval = self._interval()
        if (parts := -(-len(self._queues) // MAX_QUEUES_PER_STEP)) > 1:
            interval = max(interval / parts, min(interval, ROTATION_INTERVAL))
        return self._turn_began + interval
