"""Limits how many tasks of a queue run at the same time. Performs no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.checks import check_count, check_positive
from asynq.worker.queue_patterns import is_pattern, literal, matches

if TYPE_CHECKING:
    from collections.abc import Collection

    from asynq.worker.queue_selection import QueuePriority


@frozen
class QueueLimits:
    """Maximum number of concurrent runs per queue. A queue that is not listed has no limit.

    A limit of a pattern applies to each queue that it stands for, unless the queue has one of its own.
    """

    own: Mapping[str, int]
    """In this server."""
    shared: Mapping[str, int]
    """In all servers together."""

    @classmethod
    def of(
        cls, own: Mapping[str, int] | None, shared: Mapping[str, int] | None, served: QueuePriority
    ) -> QueueLimits:
        """Validate the limit options of a server.

        Raises:
            ValueError: a limit is less than 1, or the server does not serve its queue.
            TypeError: an option or a limit has the wrong type.
        """
        _check_limits("queue_limits", own, served)
        _check_limits("shared_queue_limits", shared, served)
        return cls(dict(own or {}), dict(shared or {}))

    def of_queues(self, names: Collection[str]) -> QueueLimits:
        """The limits of these queues, by their names."""
        return QueueLimits(_by_name(self.own, names), _by_name(self.shared, names))

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


def _by_name(limits: Mapping[str, int], names: Collection[str]) -> dict[str, int]:
    named = {literal(text): most for text, most in limits.items() if not is_pattern(text)}
    patterns = {text: most for text, most in limits.items() if is_pattern(text)}
    found: dict[str, int] = {}
    for name in names if patterns else named.keys() & set(names):
        if name in named:
            found[name] = named[name]
        elif (pattern := next((each for each in patterns if matches(each, name)), None)) is not None:
            found[name] = patterns[pattern]
    return found


def _check_limits(option: str, limits: object, preference: QueuePriority) -> None:
    if limits is None:
        return
    if not isinstance(limits, Mapping):
        raise TypeError(f"{option} must map names of queues to numbers, not be a {type(limits).__name__}")
    for name, most in limits.items():
        if not preference.serves(name):
            served = ", ".join(map(repr, (*preference.names, *preference.patterns)))
            raise ValueError(
                f"{option} names {name!r}, which is not one of the server's queues ({served}): add it to them"
            )
        check_count(f"{option}[{name!r}]", most)
        check_positive(f"{option}[{name!r}]", most)
