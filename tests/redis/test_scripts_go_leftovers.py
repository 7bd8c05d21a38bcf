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
from tests.redis.go_tasks import GROUP, NOW, P, go_leaves
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.groups import AggregationSet
    from asynq.protocol.ops import Op

QUEUES, GROUPS, SETS = "asynq:queues", f"{P}groups", f"{P}aggregation_sets"
ADOPT = AdoptOrphans(queue="q", grace=1000)
TAKE = TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000)

# --- queues ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "archived", "completed", "aggregating"])
def test_adoption_lists_a_queue_with_tasks(lab: ScriptLab, state: str) -> None:
    """A Go client lists a queue once: if the queue is deleted, later tasks leave it unlisted."""
    go_leaves(lab, state)
    lab.client.delete(QUEUES)
    assert lab.one(ADOPT) == Adopted(adopted=0, dropped=0, cursor=0)
    assert lab.one(ListQueues()) == ("q",)


def test_adoption_lists_a_queue_with_an_active_task(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take()
    lab.client.delete(QUEUES)
    lab.one(ADOPT)
    assert lab.one(ListQueues()) == ("q",)


def test_adoption_lists_a_queue_with_an_aggregation_set(lab: ScriptLab) -> None:
    go_leaves(lab, "aggregating")
    assert len(lab.one(TAKE).messages) == 1
    lab.client.delete(QUEUES)
    lab.one(ADOPT)
    assert lab.one(ListQueues()) == ("q",)


def test_adoption_does_not_list_a_queue_without_tasks(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.one(Done(delivery=lab.take()[0]))
    lab.client.set(f"{P}paused", NOW)
    lab.client.delete(QUEUES)
    lab.one(ADOPT)
    assert lab.one(ListQueues()) == ()


def test_only_the_first_call_of_an_adoption_lists_the_queue(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    lab.take(2)
    lab.client.delete(QUEUES)
    lab.one(AdoptOrphans(queue="q", grace=1000, cursor=1))
    assert lab.one(ListQueues()) == ()


def test_a_queue_that_cannot_be_listed_is_adopted(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.rpoplpush(f"{P}pending", f"{P}active")
    lab.client.set(QUEUES, "no set")
    assert lab.one(ADOPT).adopted == 1


# --- groups ---------------------------------------------------------------------------------------------


def go_reclaims(lab: ScriptLab) -> None:
    """Return the set to its group as Go does, which does not list the group."""
    lab.client.zunionstore(GROUP, [f"{GROUP}:s"])
    lab.client.delete(f"{GROUP}:s")
    lab.client.zrem(SETS, f"{GROUP}:s")


AGGREGATE = Enqueue(message=message("aggregate"), enqueue_id="e")
ON_SETS: dict[str, Callable[[AggregationSet], Op[Any]]] = {
    "extend": lambda taken: ExtendAggregation(taken=taken, hold=1000),
    "finish": lambda taken: FinishAggregation(taken=taken, enqueue=AGGREGATE),
    "return": lambda taken: ReturnAggregation(taken=taken),
}


@pytest.mark.parametrize("on_set", ON_SETS.values(), ids=ON_SETS)
def test_the_group_of_a_set_reclaimed_by_go_is_listed(
    lab: ScriptLab, on_set: Callable[[AggregationSet], Op[Any]]
) -> None:
    go_leaves(lab, "aggregating")
    taken = lab.one(TAKE)
    go_reclaims(lab)
    assert not lab.client.exists(GROUPS)
    assert isinstance(lab.one(on_set(taken)), AggregationLostError)
    assert set(lab.client.smembers(GROUPS)) == {b"g"}
    assert lab.one(TakeGroup(queue="q", group="g", set_id="t", grace=0, hold=1000)) is not None


@pytest.mark.parametrize("on_set", ON_SETS.values(), ids=ON_SETS)
def test_the_group_of_a_lost_set_is_not_listed_without_tasks(
    lab: ScriptLab, on_set: Callable[[AggregationSet], Op[Any]]
) -> None:
    go_leaves(lab, "aggregating")
    taken = lab.one(TAKE)
    go_reclaims(lab)
    lab.client.delete(GROUP)
    assert isinstance(lab.one(on_set(taken)), AggregationLostError)
    assert not lab.client.exists(GROUPS)
