"""Corner cases of scripts that operations reach only on a damaged or unusual store."""

from __future__ import annotations

from typing import Any

import pytest

from asynq.protocol.doctor import Fault
from asynq.protocol.ops import (
    Archive,
    DeleteQueue,
    Deletion,
    Done,
    Enqueue,
    EnqueueTick,
    ListLostLeases,
    MoveTasks,
    Recover,
    Retry,
    TakeGroup,
    TakeToken,
    Unique,
)
from asynq.task_state import TaskState
from tests.redis.driver import Driver, message

GROUPS, SETS = "asynq:{q}:groups", "asynq:{q}:aggregation_sets"


def archive_with_locks(driver: Driver, *ids: str) -> None:
    """Archived tasks, each with its own lock."""
    for name in ids:
        locked = message(name, unique_key=f"asynq:{{q}}:unique:t:{name}")
        driver.enqueue(locked, unique=Unique(ttl=600_000))
        driver.one(Archive(delivery=driver.take(token=name)[0], error="no"))


def replacing(name: str) -> Enqueue:
    return Enqueue(message=message(name), enqueue_id=f"new-{name}", on_conflict="replace_finished")


def test_locks_of_all_replaced_tasks_are_read_before_the_first_write(driver: Driver) -> None:
    archive_with_locks(driver, "a", "b", "c")
    answers = driver.all([replacing("a"), replacing("b"), replacing("c")])
    assert {answer.state for answer in answers} == {TaskState.PENDING}
    assert driver.client.keys("asynq:*unique*") == []


def test_locks_of_all_tasks_replaced_by_ticks_are_read_before_the_first_write(driver: Driver) -> None:
    archive_with_locks(driver, "a", "b", "c")
    ticks: list[Any] = [
        EnqueueTick(entry_id=name, tick=driver.clock.now(), keep=60_000, enqueue=replacing(name))
        for name in "abc"
    ]
    assert all(answer.enqueued is not None for answer in driver.all(ticks))
    assert driver.client.keys("asynq:*unique*") == []


def test_names_of_empty_groups_and_sets_do_not_keep_a_queue(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.sadd(GROUPS, "empty")
    driver.client.zadd(SETS, {"asynq:{q}:g:empty:set": 1, "asynq:{q}:nothing": 2})
    deletion = DeleteQueue(queue="q", force=True, limit=10)
    assert driver.one(deletion) == Deletion(tasks=1, done=True)
    assert driver.client.keys() == []


@pytest.mark.parametrize("taken", [False, True])
def test_the_name_of_a_group_is_removed_with_its_last_task(driver: Driver, taken: bool) -> None:
    driver.enqueue(message("a", group="g"), message("b", group="g"), message("c"))
    if taken:
        driver.clock.advance(1000)
        driver.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    names = SETS if taken else GROUPS
    assert driver.one(DeleteQueue(queue="q", force=True, limit=1)).tasks == 1
    assert driver.client.exists(names)
    assert driver.one(DeleteQueue(queue="q", force=True, limit=1)).tasks == 1
    assert not driver.client.exists(names)


def test_an_active_task_listed_as_pending_is_not_moved(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b"))
    [delivery] = driver.take()
    driver.client.lpush("asynq:{q}:pending", "a")
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=10)) == 1
    assert driver.client.lrange("asynq:{q}:pending", 0, -1) == []
    assert driver.client.zrange("asynq:{q}:archived", 0, -1) == [b"b"]
    assert driver.one(Done(delivery=delivery)) is None


def test_remains_of_a_task_are_removed_when_its_id_is_moved(driver: Driver) -> None:
    driver.enqueue(message("remnant"), message("b"))
    driver.client.hdel("asynq:{q}:t:remnant", "msg")
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=10)) == 1
    assert not driver.client.exists("asynq:{q}:t:remnant")


@pytest.mark.parametrize("failed", [5, 2**63 - 1])
def test_a_failure_restarts_both_totals(driver: Driver, failed: int) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.client.mset({"asynq:{q}:processed": 2**63 - 1, "asynq:{q}:failed": failed})
    assert driver.one(Retry(delivery=delivery, delay=1, error="no")) is None
    assert driver.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"1", b"1"]


def test_a_rate_limit_stores_no_unneeded_tokens(driver: Driver) -> None:
    token = TakeToken(scope="s", limit=2, per=60_000)
    for _ in range(4):
        assert driver.many(token, token) == [0, 0]
        driver.clock.advance(60_000)
    assert driver.client.llen("asynq:py:rate:s") == 2
    assert 0 < driver.client.pttl("asynq:py:rate:s") <= 60_000


def test_a_recovery_restarts_both_totals(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.take(lease=1000)
    driver.client.mset({"asynq:{q}:processed": 2**63 - 1, "asynq:{q}:failed": 5})
    driver.clock.advance(2000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    assert driver.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert driver.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"1", b"1"]


def test_active_id_without_task_is_removed(driver: Driver) -> None:
    driver.enqueue(message("gone"), message("here"))
    driver.take(2)
    driver.client.hdel("asynq:{q}:t:gone", "msg")
    faults = [(finding.fault, finding.name) for finding in driver.examine(repair=True)]
    assert (Fault.MISSING_TASK, "gone") in faults
    assert driver.client.zrange("asynq:{q}:lease", 0, -1) == [b"here"]
    assert driver.client.lrange("asynq:{q}:active", 0, -1) == [b"here"]
    assert not driver.client.exists("asynq:{q}:t:gone")
