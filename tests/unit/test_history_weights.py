"""Weighted preferences follow their weights, and deviations are detected."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from asynq.worker.queue_selection import QueuePriority
from asynq_conformance.histories.checkers.weights import (
    ALPHA,
    chances,
    chi_square_tail,
    first_choices_follow,
    nobody_starves,
    orders_follow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHTS = {"high": 6, "mid": 3, "low": 1}
DRAWS = 4000


def drawn(weights: dict[str, int], draws: int = DRAWS, seed: int = 0) -> Sequence[Sequence[str]]:
    return QueuePriority.of(weights).orders(draws, Random(seed))


@pytest.mark.parametrize(
    ("statistic", "degrees"),
    [(23.928, 1), (27.631, 2), (30.665, 3), (33.377, 4), (35.888, 5)],
)
def test_the_tail_of_chi_square_matches_published_tables(statistic: float, degrees: int) -> None:
    assert chi_square_tail(statistic, degrees) == pytest.approx(ALPHA, rel=1e-3)


def test_the_probabilities_of_all_orders_add_up_to_one() -> None:
    found = chances(WEIGHTS)
    assert sum(found.values()) == pytest.approx(1)
    assert found["high", "mid", "low"] == pytest.approx(0.6 * 0.75)
    assert found["low", "mid", "high"] == pytest.approx(0.1 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_preferences_are_drawn_by_weight(seed: int) -> None:
    orders = drawn(WEIGHTS, seed=seed)
    assert first_choices_follow(orders, WEIGHTS)
    assert orders_follow(orders, WEIGHTS)
    assert nobody_starves(orders[:300], WEIGHTS)


def test_a_sampler_that_ignores_weights_is_detected() -> None:
    orders = drawn(dict.fromkeys(WEIGHTS, 1))
    assert not first_choices_follow(orders, WEIGHTS)
    assert not orders_follow(orders, WEIGHTS)


def test_a_sampler_with_a_bias_of_five_points_is_detected() -> None:
    assert not first_choices_follow(drawn({"high": 55, "mid": 33, "low": 12}, 20_000), WEIGHTS)


def test_a_sampler_with_second_choices_by_name_is_detected() -> None:
    orders = [(first, *sorted(rest)) for first, *rest in drawn(WEIGHTS)]
    assert first_choices_follow(orders, WEIGHTS)
    assert not orders_follow(orders, WEIGHTS)


def test_a_starving_queue_is_detected() -> None:
    orders = drawn({"high": 6, "mid": 3}, 300)
    assert not nobody_starves(orders, WEIGHTS)


def test_an_impossible_order_is_detected() -> None:
    assert not orders_follow([("high", "high", "low")], WEIGHTS)
