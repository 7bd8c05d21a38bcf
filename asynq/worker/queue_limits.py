"""Limits how many tasks of a queue run at the same time. Performs no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.checks import check_count

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class QueueLimits:
    """Maximum number of concurrent runs per queue. A queue that is not listed has no limit."""

    own: Mapping[str, int]
    """In this server."""
    shared: Mapping[str, int]
    """In all servers together."""

    @classmethod
    def of(
        cls, own: Mapping[str, int] | None, shared: Mapping[str, int] | None, queues: Sequence[str]
    ) -> QueueLimits:
        """Validate the limit options of a server.

        Raises:
            ValueError: a limit is less than 1, or the server does not serve its queue.
            TypeError: an option or a limit has the wrong type.
        """
        _check_limits("queue_limits", own, queues)
        _check_limits("shared_queue_limits", shared, queues)
        return cls(dict(own or {}), dict(shared or {}))

    def allowed(
        self, orders: tuple[tuple[str, ...], ...], running: Mapping[str, int]
    ) -> tuple[tuple[str, ...], ...]:
        """Keep each limited queue in as many orders as it may start runs, and remove it from the others.

        It stays in the orders in which it ranks highest. Orders that become empty are removed.
        """
        for queue, most in self.own.items():
            ranks = [order.index(queue) for order in orders]
            room = max(most - running.get(queue, 0), 0)
            keeping = set(sorted(range(len(orders)), key=ranks.__getitem__)[:room])
            orders = tuple(
                order if place in keeping else tuple(name for name in order if name != queue)
                for place, order in enumerate(orders)
            )
        return tuple(order for order in orders if order)


def _check_limits(option: str, limits: object, queues: Sequence[str]) -> None:
    if limits is None:
        return
    if not isinstance(limits, Mapping):
        raise TypeError(f"{option} must map names of queues to numbers, not be a {type(limits).__name__}")
    for name, most in limits.items():
        if name not in queues:
            served = ", ".join(map(repr, queues))
            raise ValueError(
                f"{option} names {name!r}, which is not one of the server's queues ({served}): add it to them"
            )
        check_count(f"{option}[{name!r}]", most)
        if most < 1:
            raise ValueError(f"{option}[{name!r}] must be at least 1; it is {most}")
