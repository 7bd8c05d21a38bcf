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
    UpdatePayload,
)
from asynq.task_state import TaskState
from tests.redis.driver import Driver, message

TASK = "asynq:{q}:t:a"


# --- the first tasks of a state -----------------------------------------------------------------------------


def test_an_id_that_is_listed_twice_is_moved_once(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b"))
    driver.client.lpush("asynq:{q}:pending", "a")
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived")) == 2
    assert driver.client.zrange("asynq:{q}:archived", 0, -1) == [b"a", b"b"]
    assert not driver.client.exists("asynq:{q}:pending")


def test_moved_pending_tasks_are_no_longer_listed_as_pending(driver: Driver) -> None:
    driver.enqueue(*map(message, "abcd"))
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=3)) == 3
    assert driver.client.lrange("asynq:{q}:pending", 0, -1) == [b"d"]


@pytest.mark.parametrize("state", ["pending", "aggregating", "retry"])
def test_an_id_of_a_task_in_another_state_is_removed(driver: Driver, state: str) -> None:
    if state == "retry":
        driver.enqueue(message("a"))
        driver.one(Retry(delivery=driver.take()[0], delay=60_000, error="no"))
    else:
        driver.enqueue(message("a", group="g" if state == "aggregating" else ""))
    driver.client.zadd("asynq:{q}:scheduled", {"a": 1})
    before = driver.client.hgetall(TASK)
    assert driver.one(MoveTasks(queue="q", state=TaskState.SCHEDULED, to="archived")) == 0
    assert driver.client.hgetall(TASK) == before
    assert not driver.client.exists("asynq:{q}:scheduled", "asynq:{q}:archived")


def test_a_task_that_is_listed_nowhere_else_is_moved_regardless_of_its_state(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b"), process_in=60_000)
    driver.client.hset(TASK, "state", "retry")
    driver.client.hset("asynq:{q}:t:b", "state", "unheard-of")
    assert driver.one(MoveTasks(queue="q", state=TaskState.SCHEDULED, to="archived")) == 2
    assert driver.client.zrange("asynq:{q}:archived", 0, -1) == [b"a", b"b"]


def test_a_group_is_listed_as_long_as_it_has_tasks(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"), message("b", group="g"))
    move = MoveTasks(queue="q", state=TaskState.AGGREGATING, to="archived", group="g", limit=1)
    assert driver.one(move) == 1
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}
    assert driver.one(move) == 1
    assert not driver.client.exists("asynq:{q}:groups")


def test_a_group_key_of_another_type_is_named(driver: Driver) -> None:
    driver.enqueue(message("b"))
    driver.client.set("asynq:{q}:g:g", "garbage")
    refusal = driver.one(MoveTasks(queue="q", state=TaskState.AGGREGATING, to="archived", group="g"))
    assert isinstance(refusal, redis.ResponseError)
    assert str(refusal).startswith("WRONGTYPE asynq:{q}:g:g holds a string")


# --- lost and handed back -----------------------------------------------------------------------------------


def test_a_task_that_left_its_worker_is_not_recovered(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.take(lease=1000)
    driver.clock.advance(2000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    driver.client.hset(TASK, "state", "pending")  # as a peer does; only its lease remains
    driver.client.lpush("asynq:{q}:pending", "a")
    assert driver.one(Recover(lost=lost, to="retry", error="lost")) is False
    assert driver.client.hget(TASK, "state") == b"pending"


def test_recovery_does_not_restore_a_missing_task(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.take(lease=1000)
    driver.clock.advance(2000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    driver.client.set(TASK, "garbage")
    assert driver.one(Recover(lost=lost, to="pending", error="lost")) is False
    assert driver.client.get(TASK) == b"garbage"


@pytest.mark.parametrize("to", ["recover", "archive"])
def test_an_archived_task_has_no_fields_of_its_run(driver: Driver, to: str) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take(lease=1000)
    assert driver.one(CancelTask(task_id="a")) is True
    if to == "archive":
        assert driver.one(Archive(delivery=delivery, error="no")) is None
    else:
        driver.clock.advance(2000)
        [lost] = driver.one(ListLostLeases(queue="q")).leases
        assert driver.one(Recover(lost=lost, to="archived", error="lost")) is True
    assert not driver.client.hexists(TASK, "cancel")
    assert not driver.client.exists("asynq:{q}:lease", "asynq:{q}:active")


def test_a_requeued_task_has_no_lease(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    assert driver.one(Requeue(delivery=delivery)) is None
    assert not driver.client.exists("asynq:{q}:lease", "asynq:{q}:active")


def test_a_set_key_of_another_type_does_not_block_the_reclaiming_of_others(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.clock.advance(1000)
    driver.one(TakeGroup(queue="q", group="g", set_id="sound", grace=0, hold=1000))
    driver.client.set("asynq:{q}:g:g:broken", "garbage")
    driver.client.zadd("asynq:{q}:aggregation_sets", {"asynq:{q}:g:g:broken": 1})
    driver.clock.advance(10_000)
    assert driver.one(ReclaimAggregations(queue="q")) == 1
    assert driver.client.zrange("asynq:{q}:g:g", 0, -1) == [b"a"]


# --- changed meanwhile --------------------------------------------------------------------------------------

CHANGED = {"msg": b"\xfe", "state": b"retry"}


def test_an_undecodable_task_is_archived_with_a_replacement_message(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.hset(TASK, "msg", b"\xff")
    assert driver.take() == []
    stored = driver.client.hgetall(TASK)
    assert stored.keys() == {b"msg", b"state", b"enqueue_id"}
    assert stored[b"state"] == b"archived"
    assert b"asynq:undecodable" in stored[b"msg"]


@pytest.mark.parametrize("field", ["msg", "state"])
def test_an_undecodable_task_that_changed_since_it_was_read_is_not_archived(
    driver: Driver, field: str
) -> None:
    driver.enqueue(message("a"))
    driver.client.hset(TASK, "msg", b"\xff")
    dequeue = Dequeue(orders=(("q",),), token="t", lease=1000)
    assert driver.interrupted(dequeue, lambda: driver.client.hset(TASK, field, CHANGED[field])) == ()
    assert not driver.client.zscore("asynq:{q}:archived", "a") or field == "msg"


@pytest.mark.parametrize("field", ["msg", "state"])
def test_an_archived_damaged_task_is_reported_unless_it_has_changed(driver: Driver, field: str) -> None:
    driver.enqueue(message("a"))
    driver.take(lease=1000)
    driver.client.hset(TASK, "msg", b"\xff")
    driver.clock.advance(2000)
    listing = ListLostLeases(queue="q")
    answer = driver.interrupted(listing, lambda: driver.client.hset(TASK, field, CHANGED[field]))
    assert answer.set_aside == ()
    assert not driver.client.exists("asynq:{q}:archived")
    driver.client.hset(TASK, mapping={"msg": b"\xff", "state": "active"})
    assert driver.one(listing).set_aside == ("a",)


def test_the_payload_of_a_task_that_joined_a_set_is_not_updated(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.clock.advance(1000)
    take = TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000)
    update = UpdatePayload(queue="q", task_id="a", payload=b"new")
    before = driver.client.hget(TASK, "msg")
    assert isinstance(driver.interrupted(update, lambda: driver.one(take)), TaskStateError)
    assert driver.client.hget(TASK, "msg") == before
