"""Which queues a worker asks for tasks: those that may have some, as far as it knows. Performs no I/O."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from asynq.worker.queue_selection import FIRST_CHOICES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from asynq.worker.queue_limits import QueueLimits
    from asynq.worker.queue_selection import QueuePriority

ALL_QUEUES = 16
"""Number of queues up to which a fetch asks all that may have tasks."""


class PendingQueues:
    """The queues that may have pending tasks.

    A queue may have tasks after `mark`, until a fetch finds that it has none. While fetches return what they
    ask for, they ask few of many queues. After one that does not, the next one asks twice as many.

    Args:
        preference: the queues with their priorities.
        limits: limits on the runs of queues. A queue with a limit may always have tasks.
        rng: source of the draws.
    """

    def __init__(self, preference: QueuePriority, limits: QueueLimits, rng: Random) -> None:
        self._preference = preference
        self._limits = limits
        self._rng = rng
        self._names = preference.names
        self._ranks = {name: rank for rank, name in enumerate(self._names)}
        self._limited = frozenset(limits.own) | frozenset(limits.shared)
        self._marked = set(self._names)
        self._width = len(self._names)
        """Maximum queues of the next fetch, if more than ALL_QUEUES may have tasks."""

    def serve(self, preference: QueuePriority, limits: QueueLimits) -> None:
        """The queues have changed. New ones may have tasks."""
        before = self._ranks.keys()
        self._preference, self._limits, self._names = preference, limits, preference.names
        self._ranks = {name: rank for rank, name in enumerate(self._names)}
        self._limited = frozenset(limits.own) | frozenset(limits.shared)
        self._marked = (self._marked & self._ranks.keys()) | (self._ranks.keys() - before)
        self._width = len(self._names)

    def mark(self, queue: str | None) -> None:
        """This queue may have tasks. None: any queue."""
        if queue is None:
            self._marked.update(self._names)
            self._width = len(self._names)
        elif queue in self._ranks:
            self._marked.add(queue)

    def suspect(self) -> None:
        """Any queue may have tasks, but there are enough without them: fetches go on asking few of many."""
        self._marked.update(self._names)

    def orders(self, count: int, running: Iterable[str]) -> tuple[tuple[str, ...], ...]:
        """The orders of the next fetch, at most one for each of `count` tasks.

        There are none if no queue may have tasks. All orders name the same queues, except for queues at their
        limit.

        Args:
            count: number of wanted tasks.
            running: the queue of each run of this server.
        """
        names = sorted(self._marked | self._limited, key=self._ranks.__getitem__)
        if len(names) > ALL_QUEUES and not self._limited:
            orders = self._preference.few(names, count, self._rng, self._width)
        else:
            orders = self._preference.orders(count, self._rng, names)
        self._width = min(2 * self._width, len(self._names))
        self._marked -= self._asked(orders)
        return self._limits.allowed(orders, Counter(running)) if self._limits.own else orders

    def found_all(self, orders: tuple[tuple[str, ...], ...]) -> None:
        """The fetch with these orders returned all that it asked for, or failed: its queues may have more."""
        self._marked |= self._asked(orders) & self._ranks.keys()
        self._width = FIRST_CHOICES

    @property
    def more(self) -> bool:
        """Whether queues that were not asked may have tasks."""
        return not self._marked <= self._limited

    def _asked(self, orders: tuple[tuple[str, ...], ...]) -> frozenset[str]:
        return frozenset(orders[0] if orders else ()) - self._limited
