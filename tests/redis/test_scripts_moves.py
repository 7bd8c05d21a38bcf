"""Tasks that are moved, requeued or recovered in an inconsistent queue."""

from __future__ import annotations

import pytest
import redis

from asynq.errors import TaskStateError
from asynq.protocol.ops import (
    Archive,
    CancelTask,
    Dequeue,
    ListLostLeases,
    MoveTasks,
    ReclaimAggregations,
    Recover,
    Requeue,
    Retry,
    TakeGroup,
    UpdateTask,
)
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message

TASK = "asynq:{q}:t:a"


# --- the first tasks of a state -----------------------------------------------------------------------------


def test_an_id_that_is_listed_twice_is_moved_once(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    lab.client.lpush("asynq:{q}:pending", "a")
    assert lab.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived")) == 2
    assert lab.client.zrange("asynq:{q}:archived", 0, -1) == [b"a", b"b"]
    assert not lab.client.exists("asynq:{q}:pending")


def test_moved_pending_tasks_are_no_longer_listed_as_pending(lab: ScriptLab) -> None:
    lab.enqueue(*map(message, "abcd"))
    assert lab.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=3)) == 3
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [b"d"]


@pytest.mark.parametrize("state", ["pending", "aggregating", "retry"])
def test_an_id_of_a_task_in_another_state_is_removed(lab: ScriptLab, state: str) -> None:
    if state == "retry":
        lab.enqueue(message("a"))
        lab.one(Retry(delivery=lab.take()[0], delay=60_000, error="no"))
    else:
        lab.enqueue(message("a", group="g" if state == "aggregating" else ""))
    lab.client.zadd("asynq:{q}:scheduled", {"a": 1})
    before = lab.client.hgetall(TASK)
    assert lab.one(MoveTasks(queue="q", state=TaskState.SCHEDULED, to="archived")) == 0
    assert lab.client.hgetall(TASK) == before
    assert not lab.client.exists("asynq:{q}:scheduled", "asynq:{q}:archived")


def test_a_task_that_is_listed_nowhere_else_is_moved_regardless_of_its_state(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"), process_in=60_000)
    lab.client.hset(TASK, "state", "retry")
    lab.client.hset("asynq:{q}:t:b", "state", "unheard-of")
    assert lab.one(MoveTasks(queue="q", state=TaskState.SCHEDULED, to="archived")) == 2
    assert lab.client.zrange("asynq:{q}:archived", 0, -1) == [b"a", b"b"]


def test_a_group_is_listed_as_long_as_it_has_tasks(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"), message("b", group="g"))
    move = MoveTasks(queue="q", state=TaskState.AGGREGATING, to="archived", group="g", limit=1)
    assert lab.one(move) == 1
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}
    assert lab.one(move) == 1
    assert not lab.client.exists("asynq:{q}:groups")


def test_a_group_key_of_another_type_is_named(lab: ScriptLab) -> None:
    lab.enqueue(message("b"))
    lab.client.set("asynq:{q}:g:g", "garbage")
    refusal = lab.one(MoveTasks(queue="q", state=TaskState.AGGREGATING, to="archived", group="g"))
    assert isinstance(refusal, redis.ResponseError)
    assert str(refusal).startswith("WRONGTYPE asynq:{q}:g:g holds a string")


# --- lost and handed back -----------------------------------------------------------------------------------


def test_a_task_that_left_its_worker_is_not_recovered(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take(lease=1000)
    lab.clock.advance(2000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    lab.client.hset(TASK, "state", "pending")  # as a peer does; only its lease remains
    lab.client.lpush("asynq:{q}:pending", "a")
    assert lab.one(Recover(lost=lost, to="retry", error="lost")) is False
    assert lab.client.hget(TASK, "state") == b"pending"


def test_recovery_does_not_restore_a_missing_task(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take(lease=1000)
    lab.clock.advance(2000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    lab.client.set(TASK, "garbage")
    assert lab.one(Recover(lost=lost, to="pending", error="lost")) is False
    assert lab.client.get(TASK) == b"garbage"


@pytest.mark.parametrize("to", ["recover", "archive"])
def test_an_archived_task_has_no_fields_of_its_run(lab: ScriptLab, to: str) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take(lease=1000)
    assert lab.one(CancelTask(task_id="a")) is True
    if to == "archive":
        assert lab.one(Archive(delivery=delivery, error="no")) is None
    else:
        lab.clock.advance(2000)
        [lost] = lab.one(ListLostLeases(queue="q")).leases
        assert lab.one(Recover(lost=lost, to="archived", error="lost")) is True
    assert not lab.client.hexists(TASK, "cancel")
    assert not lab.client.exists("asynq:{q}:lease", "asynq:{q}:active")


def test_a_requeued_task_has_no_lease(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    assert lab.one(Requeue(delivery=delivery)) is None
    assert not lab.client.exists("asynq:{q}:lease", "asynq:{q}:active")


def test_a_set_key_of_another_type_does_not_block_the_reclaiming_of_others(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    lab.clock.advance(1000)
    lab.one(TakeGroup(queue="q", group="g", set_id="sound", grace=0, hold=1000))
    lab.client.set("asynq:{q}:g:g:broken", "garbage")
    lab.client.zadd("asynq:{q}:aggregation_sets", {"asynq:{q}:g:g:broken": 1})
    lab.clock.advance(10_000)
    assert lab.one(ReclaimAggregations(queue="q")) == 1
    assert lab.client.zrange("asynq:{q}:g:g", 0, -1) == [b"a"]


# --- changed meanwhile --------------------------------------------------------------------------------------

CHANGED = {"msg": b"\xfe", "state": b"retry"}


def test_an_undecodable_task_is_archived_with_a_replacement_message(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.hset(TASK, "msg", b"\xff")
    assert lab.take() == []
    stored = lab.client.hgetall(TASK)
    assert stored.keys() == {b"msg", b"state", b"enqueue_id"}
    assert stored[b"state"] == b"archived"
    assert b"asynq:undecodable" in stored[b"msg"]


@pytest.mark.parametrize("field", ["msg", "state"])
def test_an_undecodable_task_that_changed_since_it_was_read_is_not_archived(
    lab: ScriptLab, field: str
) -> None:
    lab.enqueue(message("a"))
    lab.client.hset(TASK, "msg", b"\xff")
    dequeue = Dequeue(orders=(("q",),), token="t", lease=1000)
    assert lab.interrupted(dequeue, lambda: lab.client.hset(TASK, field, CHANGED[field])) == ()
    assert not lab.client.zscore("asynq:{q}:archived", "a") or field == "msg"


@pytest.mark.parametrize("field", ["msg", "state"])
def test_an_archived_damaged_task_is_reported_unless_it_has_changed(lab: ScriptLab, field: str) -> None:
    lab.enqueue(message("a"))
    lab.take(lease=1000)
    lab.client.hset(TASK, "msg", b"\xff")
    lab.clock.advance(2000)
    listing = ListLostLeases(queue="q")
    answer = lab.interrupted(listing, lambda: lab.client.hset(TASK, field, CHANGED[field]))
    assert answer.set_aside == ()
    assert not lab.client.exists("asynq:{q}:archived")
    lab.client.hset(TASK, mapping={"msg": b"\xff", "state": "active"})
    assert lab.one(listing).set_aside == ("a",)


def test_the_payload_of_a_task_that_joined_a_set_is_not_updated(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    lab.clock.advance(1000)
    take = TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000)
    update = UpdateTask(queue="q", task_id="a", payload=b"new")
    before = lab.client.hget(TASK, "msg")
    assert isinstance(lab.interrupted(update, lambda: lab.one(take)), TaskStateError)
    assert lab.client.hget(TASK, "msg") == before
