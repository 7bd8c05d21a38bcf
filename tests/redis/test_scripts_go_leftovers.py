"""Queues and groups that Go leaves unlisted while they hold tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import AggregationLostError
from asynq.protocol.ops import (
    Adopted,
    AdoptOrphans,
    Done,
    Enqueue,
    ExtendAggregation,
    FinishAggregation,
    ListQueues,
    ReturnAggregation,
    TakeGroup,
)
from tests.redis.driver import Driver, message
from tests.redis.go_tasks import GROUP, NOW, P, go_leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.groups import AggregationSet
    from asynq.protocol.ops import Op

QUEUES, GROUPS, SETS = "asynq:queues", f"{P}groups", f"{P}aggregation_sets"
ADOPT = AdoptOrphans(queue="q", grace=1000)
TAKE = TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000)

# --- queues ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "archived", "completed", "aggregating"])
def test_adoption_lists_a_queue_with_tasks(driver: Driver, state: str) -> None:
    """A Go client lists a queue once: if the queue is deleted, later tasks leave it unlisted."""
    go_leaves(driver, state)
    driver.client.delete(QUEUES)
    assert driver.one(ADOPT) == Adopted(adopted=0, dropped=0, cursor=0)
    assert driver.one(ListQueues()) == ("q",)


def test_adoption_lists_a_queue_with_an_active_task(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.take()
    driver.client.delete(QUEUES)
    driver.one(ADOPT)
    assert driver.one(ListQueues()) == ("q",)


def test_adoption_lists_a_queue_with_an_aggregation_set(driver: Driver) -> None:
    go_leaves(driver, "aggregating")
    assert len(driver.one(TAKE).messages) == 1
    driver.client.delete(QUEUES)
    driver.one(ADOPT)
    assert driver.one(ListQueues()) == ("q",)


def test_adoption_does_not_list_a_queue_without_tasks(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.one(Done(delivery=driver.take()[0]))
    driver.client.set(f"{P}paused", NOW)
    driver.client.delete(QUEUES)
    driver.one(ADOPT)
    assert driver.one(ListQueues()) == ()


def test_only_the_first_call_of_an_adoption_lists_the_queue(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b"))
    driver.take(2)
    driver.client.delete(QUEUES)
    driver.one(AdoptOrphans(queue="q", grace=1000, cursor=1))
    assert driver.one(ListQueues()) == ()


def test_a_queue_that_cannot_be_listed_is_adopted(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.rpoplpush(f"{P}pending", f"{P}active")
    driver.client.set(QUEUES, "no set")
    assert driver.one(ADOPT).adopted == 1


# --- groups ---------------------------------------------------------------------------------------------


def go_reclaims(driver: Driver) -> None:
    """Return the set to its group as Go does, which does not list the group."""
    driver.client.zunionstore(GROUP, [f"{GROUP}:s"])
    driver.client.delete(f"{GROUP}:s")
    driver.client.zrem(SETS, f"{GROUP}:s")


AGGREGATE = Enqueue(message=message("aggregate"), enqueue_id="e")
ON_SETS: dict[str, Callable[[AggregationSet], Op[Any]]] = {
    "extend": lambda taken: ExtendAggregation(taken=taken, hold=1000),
    "finish": lambda taken: FinishAggregation(taken=taken, enqueue=AGGREGATE),
    "return": lambda taken: ReturnAggregation(taken=taken),
}


@pytest.mark.parametrize("on_set", ON_SETS.values(), ids=ON_SETS)
def test_the_group_of_a_set_reclaimed_by_go_is_listed(
    driver: Driver, on_set: Callable[[AggregationSet], Op[Any]]
) -> None:
    go_leaves(driver, "aggregating")
    taken = driver.one(TAKE)
    go_reclaims(driver)
    assert not driver.client.exists(GROUPS)
    assert isinstance(driver.one(on_set(taken)), AggregationLostError)
    assert driver.client.smembers(GROUPS) == {b"g"}
    assert driver.one(TakeGroup(queue="q", group="g", set_id="t", grace=0, hold=1000)) is not None


@pytest.mark.parametrize("on_set", ON_SETS.values(), ids=ON_SETS)
def test_the_group_of_a_lost_set_is_not_listed_without_tasks(
    driver: Driver, on_set: Callable[[AggregationSet], Op[Any]]
) -> None:
    go_leaves(driver, "aggregating")
    taken = driver.one(TAKE)
    go_reclaims(driver)
    driver.client.delete(GROUP)
    assert isinstance(driver.one(on_set(taken)), AggregationLostError)
    assert not driver.client.exists(GROUPS)
