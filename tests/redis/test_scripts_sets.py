"""Aggregation sets that lost tasks, or contain more tasks than ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.protocol.ops import (
    Enqueue,
    FinishAggregation,
    GetTask,
    ListGroups,
    ReclaimAggregations,
    ReturnAggregation,
    TakeGroup,
)
from asynq.task_state import TaskState
from asynq_redis.operations.execution import Batch, CallContext
from tests.redis.driver import Driver, message

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet

SET, SETS, GROUP = "asynq:{q}:g:g:s", "asynq:{q}:aggregation_sets", "asynq:{q}:g:g"


def taken(driver: Driver, *ids: str) -> AggregationSet:
    """A set of these tasks."""
    driver.enqueue(*(message(task_id, group="g") for task_id in ids))
    driver.clock.advance(1000)
    found: AggregationSet = driver.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    return found


def finish(found: AggregationSet, task_id: str) -> FinishAggregation:
    return FinishAggregation(taken=found, enqueue=Enqueue(message=message(task_id), enqueue_id="e"))


@pytest.mark.parametrize("lost", [False, True])
def test_a_set_that_contains_only_the_aggregate_can_be_finished(driver: Driver, lost: bool) -> None:
    found = taken(driver, "a")
    if lost:
        driver.client.delete(SET)
    assert driver.one(finish(found, "all" if lost else "a")).state is TaskState.PENDING
    assert not driver.client.exists(SET, SETS)


def test_a_set_without_existing_tasks_can_be_returned(driver: Driver) -> None:
    found = taken(driver, "a")
    driver.client.delete(SET)
    assert driver.one(ReturnAggregation(taken=found)) is None
    assert not driver.client.exists(SETS)


def test_a_large_set_is_returned_in_disjoint_parts(driver: Driver) -> None:
    members = {f"{number:04}": number for number in range(1200)}
    driver.client.zadd(SET, members)
    driver.client.zadd(SETS, {SET: 1})
    reclaim = Batch([ReclaimAggregations(queue="q")], CallContext(clock=driver.clock))
    while reclaim.requests:
        reclaim.feed(driver.replies(reclaim))
        assert driver.client.zcard(SET) + driver.client.zcard(GROUP) == len(members)
    assert reclaim.answers == [1]
    assert driver.client.zcard(GROUP) == len(members)


def test_an_undecodable_member_is_archived_and_leaves_its_group(driver: Driver) -> None:
    driver.enqueue(message("broken", group="g"))
    driver.client.hset("asynq:{q}:t:broken", "msg", b"\xff")
    assert [found.id for found in taken(driver, "a").messages] == ["a"]
    assert driver.one(GetTask(queue="q", task_id="broken")).state is TaskState.ARCHIVED
    assert driver.client.hmget("asynq:{q}:t:broken", "state", "group") == [b"archived", None]
    assert driver.client.zrange("asynq:{q}:archived", 0, -1) == [b"broken"]


def test_the_name_of_an_empty_group_is_not_listed(driver: Driver) -> None:
    driver.client.sadd("asynq:{q}:groups", "empty")
    assert driver.one(ListGroups(queue="q")).groups == ()
