from __future__ import annotations

from random import Random
from typing import Any

import pytest

from asynq.server import Server
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq_sqlite import MemoryBroker

BOTH = ("high", "low")


def limits(**own: int) -> QueueLimits:
    return QueueLimits.of(own, None, QueuePriority.of(["high", "low", "other"]))


def test_a_queue_stays_in_as_many_orders_as_its_limit_allows() -> None:
    orders = (BOTH,) * 4
    assert limits(high=2).allowed(orders, {}) == (BOTH, BOTH, ("low",), ("low",))
    assert limits(high=2).allowed(orders, {"high": 1, "low": 9}) == (BOTH, *((("low",),) * 3))
    assert limits(high=2).allowed(orders, {"high": 3}) == (("low",),) * 4


def test_a_limited_queue_stays_in_the_orders_that_prefer_it_most() -> None:
    orders = (("high", "low"), ("low", "high"))
    assert limits(low=1).allowed(orders, {}) == (("high",), ("low", "high"))


def test_an_order_without_queues_is_dropped() -> None:
    assert limits(high=1, low=1).allowed((BOTH,) * 3, {"low": 1}) == (("high",),)
    assert limits(high=1).allowed((("high",),), {"high": 1}) == ()


def test_orders_without_limits_are_unchanged() -> None:
    orders = QueuePriority.of({"high": 6, "low": 1}).orders(20, Random(1))
    assert limits().allowed(orders, {"high": 99}) == orders


@pytest.mark.parametrize("seed", range(20))
def test_a_queue_never_exceeds_its_limit_in_orders(seed: int) -> None:
    rng = Random(seed)
    orders = QueuePriority.of({"high": 6, "low": 1, "other": 3}).orders(20, rng)
    most = {"high": rng.randint(1, 20), "other": rng.randint(1, 20)}
    allowed = limits(**most).allowed(orders, {})
    assert [sum(name in order for order in allowed) for name in most] == [*most.values()]
    assert sum("low" in order for order in allowed) == 20


@pytest.mark.parametrize("option", ["queue_limits", "shared_queue_limits"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"default": 0}, ValueError),
        ({"default": -1}, ValueError),
        ({"unserved": 1}, ValueError),
        ({"default": 1.5}, TypeError),
        ({"default": True}, TypeError),
        (["default"], TypeError),
        (3, TypeError),
    ],
)
def test_an_invalid_limit_is_refused(option: str, value: Any, error: type[Exception]) -> None:
    options: dict[str, Any] = {option: value}
    with pytest.raises(error, match=f"^{option}"):
        Server(MemoryBroker(), **options)


def test_a_limit_for_an_unserved_queue_is_refused_with_the_served_ones() -> None:
    with pytest.raises(ValueError, match=r"names 'reports', .* \('high', 'low'\): add it to them"):
        Server(MemoryBroker(), queues={"high": 2, "low": 1}, queue_limits={"reports": 1})
