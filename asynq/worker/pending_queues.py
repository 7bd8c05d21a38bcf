"""Which queues a worker asks for tasks: those that may have some, as far as it knows. Performs no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from random import Random

    from asynq.worker.queue_selection import QueuePriority

MAX_QUEUES_PER_FETCH = 8
"""Maximum queues of one fetch, if more than ALL_QUEUES may have tasks: each queue has a cost of its own."""
ALL_QUEUES = 16
"""Number of queues up to which a fetch asks all that may have tasks."""


class PendingQueues:
    """The queues that may have pending tasks.

    A queue may have tasks after `mark`, until a fetch finds that it has none.

    Args:
        preference: the queues with their priorities.
        limited: queues that may have tasks although a fetch returned none of them.
    """

    def __init__(self, preference: QueuePriority, limited: Collection[str]) -> None:
        self._preference = preference
        self._names = preference.names
        self._ranks = {name: rank for rank, name in enumerate(self._names)}
        self._limited = frozenset(limited)
        self._marked = set(self._names)
        self._asked: frozenset[str] = frozenset()

    def mark(self, queue: str | None) -> None:
        """This queue may have tasks. None: any queue."""
        if queue is None:
            self._marked.update(self._names)
        elif queue in self._ranks:
            self._marked.add(queue)

    def orders(self, count: int, rng: Random, *, informed: bool) -> tuple[tuple[str, ...], ...]:
        """The orders of the next fetch, one for each of `count` tasks. Empty if no queue may have tasks.

        Every order names the same queues.

        Args:
            count: number of wanted tasks.
            rng: source of the draws.
            informed: whether `mark` is called for every queue that gets tasks. If not, the fetch asks all.
        """
        if informed:
            names = sorted(self._marked | self._limited, key=self._ranks.__getitem__)
        else:
            names = list(self._names)
        if informed and len(names) > ALL_QUEUES and not self._limited:
            orders = self._preference.few(names, count, rng, MAX_QUEUES_PER_FETCH)
        else:
            orders = self._preference.orders(count, rng, names)
        self._asked = frozenset(orders[0] if orders else ()) - self._limited
        self._marked -= self._asked
        return orders

    def found_all(self) -> None:
        """The fetch returned what it asked for, or failed: the queues that it asked may have more."""
        self._marked |= self._asked

    @property
    def more(self) -> bool:
        """Whether queues that were not asked may have tasks."""
        return not self._marked <= self._limited
