"""Selection of the preferred queue."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from random import Random
from typing import Any

import pytest

from asynq.worker.queue_selection import QueuePriority

WEIGHTS = {"low": 1, "critical": 6, "default": 3}


def test_strict_order_is_by_weight_then_by_position() -> None:
    preference = QueuePriority.of({"b": 1, "top": 2, "a": 1}, strict=True)
    assert preference.orders(3, Random(1)) == (("top", "b", "a"),) * 3


def test_each_requested_task_gets_an_order_of_all_queues() -> None:
    orders = QueuePriority.of(WEIGHTS).orders(50, Random(1))
    assert len(orders) == 50
    assert all(sorted(order) == sorted(WEIGHTS) for order in orders)


def test_first_choices_follow_the_weights() -> None:
    draws = 20_000
    first = Counter(order[0] for order in QueuePriority.of(WEIGHTS).orders(draws, Random(1)))
    for name, weight in WEIGHTS.items():
        assert first[name] / draws == pytest.approx(weight / 10, abs=0.015)


def test_orders_are_distributed_like_a_shuffled_list_of_weighted_names() -> None:
    draws = 20_000
    seen = Counter(QueuePriority.of(WEIGHTS).orders(draws, Random(1)))
    for order in permutations(WEIGHTS):
        rest, chance = 10, 1.0
        for name in order:
            chance *= WEIGHTS[name] / rest
            rest -= WEIGHTS[name]
        assert seen[order] / draws == pytest.approx(chance, abs=0.015)


def test_a_list_of_names_has_equal_weights() -> None:
    assert QueuePriority.of(["a", "b"]).weights == {"a": 1, "b": 1}


def test_the_same_randomness_draws_the_same_orders() -> None:
    preference = QueuePriority.of(WEIGHTS)
    assert preference.orders(20, Random(3)) == preference.orders(20, Random(3))


@pytest.mark.parametrize(
    ("queues", "error"),
    [
        ({}, ValueError),
        ([], ValueError),
        ({"a": 0}, ValueError),
        ({"a": -1}, ValueError),
        ({"a": 1.5}, TypeError),
        ({"a": True}, TypeError),
        ({" ": 1}, ValueError),
        ({1: 1}, TypeError),
        (["a", "a"], ValueError),
        (["a", 1], TypeError),
        ([["a"]], TypeError),
        ("default", TypeError),
        (None, TypeError),
    ],
)
def test_an_invalid_queue_selection_is_refused_with_the_option(queues: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="queues"):
        QueuePriority.of(queues)


def test_one_name_is_refused_as_a_selection_of_queues() -> None:
    name: Any = "default"
    with pytest.raises(TypeError, match="queues must map names to weights, or be a list of names, not str"):
        QueuePriority.of(name)
