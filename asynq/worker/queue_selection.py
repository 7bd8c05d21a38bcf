"""Decides from which queues a worker fetches: weighted or strict priority. Performs no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from asynq.checks import check_flag, check_positive, check_queue
from asynq.worker.queue_patterns import is_pattern, literal, matches

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

FIRST_CHOICES = 4
"""Maximum number of first choices of a fetch, if there are many queues: each queue has a cost of its own."""
TASKS_PER_CHOICE = 10
"""Number of tasks for which another first choice pays, after the second."""


@frozen
class QueuePriority:
    """Queues with their weights. With `strict`, weights are ranks, otherwise they are probabilities."""

    weights: Mapping[str, int]
    strict: bool = False
    patterns: Mapping[str, int] = field(factory=dict)
    """Patterns of names, with the weight of each queue that they stand for."""

    @classmethod
    def of(cls, queues: Mapping[str, int] | Sequence[str], *, strict: bool = False) -> QueuePriority:
        """Validate the `queues` option of a server: weights by name, or names of equal weight.

        A name with an asterisk is a pattern, see `asynq.worker.queue_patterns`.

        Raises:
            ValueError: there is no queue, a name is blank or repeated, or a weight is less than 1.
            TypeError: `queues`, a name or a weight has the wrong type.
        """
        check_flag("strict_priority", strict)
        if isinstance(queues, Mapping):
            weights = dict(queues)
        elif isinstance(queues, Sequence) and not isinstance(queues, str | bytes):
            for name in queues:
                check_queue("a name in queues", name)
            weights = dict.fromkeys(queues, 1)
            if len(weights) < len(queues):
                raise ValueError(f"queues contains a queue twice; it is {list(queues)!r}")
        else:
            raise TypeError(
                f"queues must map names to weights, or be a list of names, not {type(queues).__name__}"
            )
        if not weights:
            raise ValueError("queues must name at least one queue")
        for name, weight in weights.items():
            check_queue("a name in queues", name)
            check_positive(f"queues[{name!r}]", weight)
        named = {literal(name): weight for name, weight in weights.items() if not is_pattern(name)}
        patterns = {name: weight for name, weight in weights.items() if is_pattern(name)}
        return cls(named, strict, patterns)

    def serves(self, text: str) -> bool:
        """Whether a text is one of the patterns, or the name of a queue that is served once it is listed."""
        if is_pattern(text):
            return text in self.patterns
        return literal(text) in self.weights or self.pattern_of(literal(text)) is not None

    def pattern_of(self, name: str) -> str | None:
        """The first pattern that stands for this queue."""
        return next((pattern for pattern in self.patterns if matches(pattern, name)), None)

    def matching(self, listed: Iterable[str]) -> QueuePriority:
        """The named queues with their weights, and those of the listed ones that a pattern stands for."""
        found = {
            name: self.patterns[pattern]
            for name in listed
            if name not in self.weights
            and (pattern := self.pattern_of(name)) is not None
            and not name.startswith("}")  # its keys would be on several servers of a cluster
        }
        return evolve(self, weights={**self.weights, **found})

    @property
    def names(self) -> tuple[str, ...]:
        """The queues, heaviest first. Queues of equal weight keep the given order."""
        return tuple(sorted(self.weights, key=lambda name: -self.weights[name]))

    def orders(
        self, count: int, rng: Random, names: Sequence[str] | None = None
    ) -> tuple[tuple[str, ...], ...]:
        """Return an order of the queues for each of `count` tasks.

        Strict: always the heaviest queue first. Weighted: the first queue is drawn with probabilities
        proportional to the weights, the next one among the rest in the same way, and so on. No queue starves.

        Args:
            count: number of orders.
            rng: source of the draws.
            names: some of the queues, in the order of `names`. None: all of them.
        """
        ranked = self.names if names is None else tuple(names)
        if not ranked:
            return ()
        if self.strict or len(ranked) == 1:
            return (ranked,) * count
        return tuple(self._drawn(ranked, rng) for _ in range(count))

    def few(self, names: Sequence[str], count: int, rng: Random, most: int) -> tuple[tuple[str, ...], ...]:
        """Return orders like `orders`, but of at most `most` of these queues, the same ones in every order.

        Weighted: the first queue of each order has the probability that its weight gives it among `names`.
        But the orders are not independent: there are at most FIRST_CHOICES different ones.
        """
        if self.strict:
            return (tuple(names[:most]),) * count
        weights = [self.weights[name] for name in names]
        choices = max(count // TASKS_PER_CHOICE, 2)
        draws = rng.choices(names, weights, k=min(choices, FIRST_CHOICES, most, count))
        drawn = tuple(dict.fromkeys(draws))
        if most > FIRST_CHOICES:
            drawn += tuple(name for name in self._drawn(tuple(names), rng)[:most] if name not in drawn)
        orders = {first: (first, *(name for name in drawn if name != first)) for first in set(draws)}
        return tuple(orders[draws[place % len(draws)]] for place in range(count))

    def _drawn(self, names: tuple[str, ...], rng: Random) -> tuple[str, ...]:
        # Sorting by exponential waiting times with these rates is equivalent to such draws.
        return tuple(sorted(names, key=lambda name: rng.expovariate(self.weights[name])))
