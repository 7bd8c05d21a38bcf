"""PendingQueues: which queues a fetch asks."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from asynq.worker.pending_queues import PendingQueues
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import FIRST_CHOICES, QueuePriority

MANY = {f"q{number:03}": 1 + number % 3 for number in range(100)}


def pending_of(queues: Any, *limited: str, strict: bool = False) -> PendingQueues:
    limits = QueueLimits(own={}, shared=dict.fromkeys(limited, 1))
    return PendingQueues(QueuePriority.of(queues, strict=strict), limits, Random(1))


def asked(pending: PendingQueues, count: int = 3) -> set[str]:
    """The queues that the next fetch names; every order names all of them."""
    orders = pending.orders(count, ())
    assert len(orders) in (0, count)
    named = {frozenset(order) for order in orders}
    assert len(named) <= 1
    return set(next(iter(named), ()))


def found_all(pending: PendingQueues, queues: set[str]) -> None:
    """A fetch that asked these queues returned all that it asked for."""
    pending.found_all((tuple(queues),))


def test_a_queue_without_tasks_is_asked_again_after_it_changed() -> None:
    pending = pending_of(["a", "b", "c"])
    assert asked(pending) == {"a", "b", "c"}
    assert not pending.more
    assert asked(pending) == set()
    pending.mark("b")
    assert pending.more
    assert asked(pending) == {"b"}
    pending.mark(None)
    assert asked(pending) == {"a", "b", "c"}


def test_a_queue_with_more_tasks_is_asked_again() -> None:
    pending = pending_of(["a", "b"])
    found_all(pending, asked(pending))
    assert pending.more
    assert asked(pending) == {"a", "b"}


def test_a_change_during_a_fetch_is_not_forgotten() -> None:
    pending = pending_of(["a", "b"])
    asked(pending)
    pending.mark("a")
    assert asked(pending) == {"a"}


def test_queues_under_suspicion_are_asked_by_and_by() -> None:
    pending = pending_of(MANY)
    found_all(pending, asked(pending, 50))
    while pending.more:
        asked(pending, 50)
    found_all(pending, {"q000"})
    pending.suspect()
    assert 0 < len(asked(pending, 50)) <= FIRST_CHOICES
    assert pending.more


def test_a_queue_with_a_limit_is_always_asked() -> None:
    pending = pending_of(["a", "b"], "b")
    assert asked(pending) == {"a", "b"}
    assert asked(pending) == {"b"}
    assert not pending.more


def test_a_queue_at_its_limit_is_left_out() -> None:
    limits = QueueLimits(own={"b": 1}, shared={})
    pending = PendingQueues(QueuePriority.of(["a", "b"], strict=True), limits, Random(1))
    orders = pending.orders(2, ())
    assert orders == (("a", "b"), ("a",))
    pending.found_all(orders)
    assert pending.orders(2, ("b",)) == (("a",), ("a",))
    assert pending.orders(2, ("b",)) == ()


def test_an_unknown_queue_is_ignored() -> None:
    pending = pending_of(["a"])
    pending.mark("another server's")
    assert asked(pending) == {"a"}


def test_queues_of_which_nothing_is_known_are_asked_at_once() -> None:
    pending = pending_of(MANY)
    assert asked(pending, 50) == set(MANY)
    assert not pending.more
    pending.mark(None)
    assert asked(pending, 1) == set(MANY)


def test_a_fetch_asks_few_of_many_queues_while_they_have_tasks() -> None:
    pending = pending_of(MANY)
    names = asked(pending, 50)
    for _ in range(3):
        found_all(pending, names)
        names = asked(pending, 50)
        assert len(names) <= FIRST_CHOICES


def test_fetches_that_find_too_little_ask_ever_more_queues() -> None:
    pending = pending_of(MANY)
    found_all(pending, asked(pending, 50))
    seen: list[set[str]] = []
    while pending.more:
        seen.append(asked(pending, 50))
    assert set().union(*seen) == set(MANY)
    assert sum(map(len, seen)) == len(MANY)
    assert len(seen) <= 7


def test_strict_priority_asks_the_heaviest_of_many_queues_first() -> None:
    pending = pending_of(MANY, strict=True)
    names = QueuePriority.of(MANY, strict=True).names
    orders = pending.orders(50, ())
    assert set(orders) == {names}
    pending.found_all(orders)
    assert set(pending.orders(50, ())) == {names[:FIRST_CHOICES]}
    assert set(pending.orders(50, ())) == {names[FIRST_CHOICES : 3 * FIRST_CHOICES]}


@pytest.mark.parametrize("count", [1, 5, 50])
def test_first_choices_among_many_queues_follow_the_weights(count: int) -> None:
    weights = {**MANY, "heavy": sum(MANY.values())}
    pending, first = pending_of(weights), Counter[str]()
    fetches = 20_000 // min(count, FIRST_CHOICES)
    for _ in range(fetches):
        orders = pending.orders(count, ())
        first.update(order[0] for order in orders)
        pending.found_all(orders)
    assert first["heavy"] / first.total() == pytest.approx(1 / 2, abs=0.02)
    by_weight = Counter[int]()
    for name, weight in MANY.items():
        by_weight[weight] += first[name]
    for weight in (1, 2, 3):
        share = sum(one for one in MANY.values() if one == weight) / sum(weights.values())
        assert by_weight[weight] / first.total() == pytest.approx(share, abs=0.02)
