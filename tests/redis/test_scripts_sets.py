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
from asynq_redis.operations.execution import CallContext
from tests.redis.script_lab import Batch, ScriptLab, message

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet

SET, SETS, GROUP = "asynq:{q}:g:g:s", "asynq:{q}:aggregation_sets", "asynq:{q}:g:g"


def taken(lab: ScriptLab, *ids: str) -> AggregationSet:
    """A set of these tasks."""
    lab.enqueue(*(message(task_id, group="g") for task_id in ids))
    lab.clock.advance(1000)
    found: AggregationSet = lab.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    return found


def finish(found: AggregationSet, task_id: str) -> FinishAggregation:
    return FinishAggregation(taken=found, enqueue=Enqueue(message=message(task_id), enqueue_id="e"))


@pytest.mark.parametrize("lost", [False, True])
def test_a_set_that_contains_only_the_aggregate_can_be_finished(lab: ScriptLab, lost: bool) -> None:
    found = taken(lab, "a")
    if lost:
        lab.client.delete(SET)
    assert lab.one(finish(found, "all" if lost else "a")).state is TaskState.PENDING
    assert not lab.client.exists(SET, SETS)


def test_a_set_without_existing_tasks_can_be_returned(lab: ScriptLab) -> None:
    found = taken(lab, "a")
    lab.client.delete(SET)
    assert lab.one(ReturnAggregation(taken=found)) is None
    assert not lab.client.exists(SETS)


def test_a_large_set_is_returned_in_disjoint_parts(lab: ScriptLab) -> None:
    members = {f"{number:04}": number for number in range(1200)}
    lab.client.zadd(SET, members)
    lab.client.zadd(SETS, {SET: 1})
    reclaim = Batch([ReclaimAggregations(queue="q")], CallContext(clock=lab.clock))
    while reclaim.requests:
        reclaim.feed(lab.replies(reclaim))
        assert lab.client.zcard(SET) + lab.client.zcard(GROUP) == len(members)
    assert reclaim.answers == [1]
    assert lab.client.zcard(GROUP) == len(members)


def test_an_undecodable_member_is_archived_and_leaves_its_group(lab: ScriptLab) -> None:
    lab.enqueue(message("broken", group="g"))
    lab.client.hset("asynq:{q}:t:broken", "msg", b"\xff")
    assert [found.id for found in taken(lab, "a").messages] == ["a"]
    assert lab.one(GetTask(queue="q", task_id="broken")).state is TaskState.ARCHIVED
    assert lab.client.hmget("asynq:{q}:t:broken", "state", "group") == [b"archived", None]
    assert lab.client.zrange("asynq:{q}:archived", 0, -1) == [b"broken"]


def test_the_name_of_an_empty_group_is_not_listed(lab: ScriptLab) -> None:
    lab.client.sadd("asynq:{q}:groups", "empty")
    assert lab.one(ListGroups(queue="q")).groups == ()
