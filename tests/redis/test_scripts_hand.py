"""What moving tasks by hand does to what belongs to them: runs that were, locks, groups."""

from __future__ import annotations

from typing import Any

import pytest

from asynq.errors import LeaseLostError, TaskIDConflictError, TaskNotFoundError
from asynq.protocol.ops import (
    Archive,
    ArchiveTask,
    DeleteTask,
    Enqueue,
    GetTask,
    MoveTasks,
    Requeue,
    Retry,
    RunTask,
    Unique,
)
from asynq.task_state import TaskState
from tests.redis.driver import Driver, message, unique

HASH, LOCK = "asynq:{q}:t:a", unique("any").unique_key


def test_whoever_ran_a_task_that_was_archived_by_hand_did_not_archive_it(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.one(Requeue(delivery=delivery))
    assert driver.one(ArchiveTask(queue="q", task_id="a")) is None
    assert isinstance(driver.one(Archive(delivery=delivery, error="no")), LeaseLostError)


def test_whoever_ran_a_task_that_was_run_by_hand_did_not_requeue_it(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.one(Retry(delivery=delivery, delay=60_000, error="no"))
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert isinstance(driver.one(Requeue(delivery=delivery)), LeaseLostError)


@pytest.mark.parametrize("archived", [False, True])
def test_a_cancellation_is_forgotten_when_its_task_is_run_or_archived_by_hand(
    driver: Driver, archived: bool
) -> None:
    driver.enqueue(message("a"), process_in=60_000)
    driver.client.hset(HASH, "cancel", "archive")
    if archived:
        assert driver.one(ArchiveTask(queue="q", task_id="a")) is None
        assert not driver.client.hexists(HASH, "cancel")
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert driver.take()[0].cancel == ""


@pytest.mark.parametrize(("until", "held"), [("done", b"a"), ("expiry", b"expiry:a"), ("start", None)])
def test_a_kept_lock_is_taken_again_when_its_task_is_run_by_hand_unless_it_ended_with_the_start(
    driver: Driver, until: Any, held: bytes | None
) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000, until=until, keep=True))
    driver.one(Retry(delivery=driver.take()[0], delay=60_000, error="no"))
    driver.client.delete(LOCK)
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert driver.client.get(LOCK) == held
    if held:
        assert 2000 < driver.client.pttl(LOCK) <= 5000


def test_a_lock_that_is_not_kept_is_not_taken_again_when_its_task_is_run_by_hand(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000), process_in=60_000)
    driver.client.delete(LOCK)
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert not driver.client.exists(LOCK)


def test_tasks_that_go_at_once_as_the_archive_is_full_free_the_locks_they_own_alone(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=60_000))
    other = message("b", unique_key="asynq:{q}:unique:b:")
    driver.enqueue(other, unique=Unique(ttl=60_000))
    driver.client.set(other.unique_key, "c")
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", max_size=0)) == 2
    assert driver.client.keys("asynq:*unique*") == [b"asynq:{q}:unique:b:"]
    assert driver.client.keys("asynq:{q}:t:*") == []


def test_the_name_of_a_group_goes_when_its_last_task_is_run_by_hand(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"), message("b", group="g"))
    driver.one(RunTask(queue="q", task_id="a"))
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}
    driver.one(RunTask(queue="q", task_id="b"))
    assert not driver.client.exists("asynq:{q}:groups")


def test_the_name_of_a_group_stays_when_its_only_scheduled_task_is_run_by_hand(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.enqueue(message("b", group="g"), process_in=60_000)
    assert driver.one(RunTask(queue="q", task_id="b")) is None
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}


def test_what_is_left_of_a_task_can_be_deleted_and_nothing_else(driver: Driver) -> None:
    driver.client.hset(HASH, mapping={"state": "archived", "result": "half"})
    for operation in (GetTask, RunTask, ArchiveTask):
        assert isinstance(driver.one(operation(queue="q", task_id="a")), TaskNotFoundError)
    assert driver.client.keys() == [HASH.encode()]
    assert driver.one(DeleteTask(queue="q", task_id="a")) is None
    assert driver.client.keys() == []
    assert isinstance(driver.one(DeleteTask(queue="q", task_id="a")), TaskNotFoundError)


def test_a_key_that_holds_no_task_is_no_task(driver: Driver) -> None:
    driver.client.set(HASH, "somebody's")
    assert isinstance(driver.one(GetTask(queue="q", task_id="a")), TaskNotFoundError)


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_whoever_wants_an_id_that_is_taken_is_told_the_state_of_its_task(
    driver: Driver, state: TaskState
) -> None:
    driver.enqueue(message("a"))
    if state is TaskState.ARCHIVED:
        driver.one(ArchiveTask(queue="q", task_id="a"))
    refusal = driver.one(Enqueue(message=message("a"), enqueue_id="another"))
    assert isinstance(refusal, TaskIDConflictError)
    assert refusal.state is state
