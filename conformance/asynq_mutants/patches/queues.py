"""Bugs in the order of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.worker.queue_selection import QueuePriority
from asynq_mutants.patches import failing

if TYPE_CHECKING:
    from random import Random

TESTS = "tests/unit/test_queue_selection.py::"
SERVED = (
    "tests/conformance/test_sqlite.py::TestMemory::test_while_no_queue_is_empty_each_is_served_by_its_weight"
)


@failing(TESTS + "test_first_choices_follow_the_weights", bug=34, histories=SERVED)
def ignore_the_weights() -> None:
    """All queues are equally likely."""

    def drawn(self: QueuePriority, names: tuple[str, ...], rng: Random) -> tuple[str, ...]:
        return tuple(sorted(names, key=lambda _: rng.random()))

    QueuePriority._drawn = drawn  # type: ignore[method-assign]


@failing(TESTS + "test_first_choices_follow_the_weights", bug=35, histories=SERVED)
def favour_the_heaviest() -> None:
    """The weights 6 : 3 : 1 result in 65 : 26 : 9."""

    def drawn(self: QueuePriority, names: tuple[str, ...], rng: Random) -> tuple[str, ...]:
        rates = {name: self.weights[name] * (1.24 if name == names[0] else 1) for name in names}
        return tuple(sorted(names, key=lambda name: rng.expovariate(rates[name])))

    QueuePriority._drawn = drawn  # type: ignore[method-assign]


@failing(
    TESTS + "test_orders_are_distributed_like_a_shuffled_list_of_weighted_names",
    bug=36,
    histories=SERVED,
)
def starve_the_lightest() -> None:
    """The queue with the smallest weight always comes last."""
    correct = QueuePriority._drawn

    def drawn(self: QueuePriority, names: tuple[str, ...], rng: Random) -> tuple[str, ...]:
        return (*correct(self, names[:-1], rng), names[-1])

    QueuePriority._drawn = drawn  # type: ignore[method-assign]
