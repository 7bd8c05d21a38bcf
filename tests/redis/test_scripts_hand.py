"""Effects of manual moves on former runs, locks and groups of a task."""

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


def test_a_manually_archived_task_confirms_no_archiving_of_its_worker(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.one(Requeue(delivery=delivery))
    assert driver.one(ArchiveTask(queue="q", task_id="a")) is None
    assert isinstance(driver.one(Archive(delivery=delivery, error="no")), LeaseLostError)


def test_a_manually_run_task_confirms_no_requeue_of_its_worker(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.one(Retry(delivery=delivery, delay=60_000, error="no"))
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert isinstance(driver.one(Requeue(delivery=delivery)), LeaseLostError)


@pytest.mark.parametrize("archived", [False, True])
def test_running_or_archiving_a_task_manually_removes_its_cancellation(
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
def test_running_a_task_manually_takes_its_kept_lock_again_unless_until_start(
    driver: Driver, until: Any, held: bytes | None
) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000, until=until, keep=True))
    driver.one(Retry(delivery=driver.take()[0], delay=60_000, error="no"))
    driver.client.delete(LOCK)
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert driver.client.get(LOCK) == held
    if held:
        assert 2000 < driver.client.pttl(LOCK) <= 5000


def test_running_a_task_manually_does_not_take_a_lock_that_is_not_kept(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000), process_in=60_000)
    driver.client.delete(LOCK)
    assert driver.one(RunTask(queue="q", task_id="a")) is None
    assert not driver.client.exists(LOCK)


def test_tasks_removed_at_once_by_a_full_archive_release_only_their_own_locks(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=60_000))
    other = message("b", unique_key="asynq:{q}:unique:b:")
    driver.enqueue(other, unique=Unique(ttl=60_000))
    driver.client.set(other.unique_key, "c")
    assert driver.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", max_size=0)) == 2
    assert driver.client.keys("asynq:*unique*") == [b"asynq:{q}:unique:b:"]
    assert driver.client.keys("asynq:{q}:t:*") == []


def test_running_the_last_task_of_a_group_manually_removes_its_name(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"), message("b", group="g"))
    driver.one(RunTask(queue="q", task_id="a"))
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}
    driver.one(RunTask(queue="q", task_id="b"))
    assert not driver.client.exists("asynq:{q}:groups")


def test_running_the_only_scheduled_task_of_a_group_manually_keeps_its_name(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.enqueue(message("b", group="g"), process_in=60_000)
    assert driver.one(RunTask(queue="q", task_id="b")) is None
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}


def test_remains_of_a_task_can_only_be_deleted(driver: Driver) -> None:
    driver.client.hset(HASH, mapping={"state": "archived", "result": "half"})
    for operation in (GetTask, RunTask, ArchiveTask):
        assert isinstance(driver.one(operation(queue="q", task_id="a")), TaskNotFoundError)
    assert driver.client.keys() == [HASH.encode()]
    assert driver.one(DeleteTask(queue="q", task_id="a")) is None
    assert driver.client.keys() == []
    assert isinstance(driver.one(DeleteTask(queue="q", task_id="a")), TaskNotFoundError)


def test_a_key_without_a_task_does_not_count_as_a_task(driver: Driver) -> None:
    driver.client.set(HASH, "somebody's")
    assert isinstance(driver.one(GetTask(queue="q", task_id="a")), TaskNotFoundError)


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_an_id_conflict_contains_the_state_of_the_existing_task(driver: Driver, state: TaskState) -> None:
    driver.enqueue(message("a"))
    if state is TaskState.ARCHIVED:
        driver.one(ArchiveTask(queue="q", task_id="a"))
    refusal = driver.one(Enqueue(message=message("a"), enqueue_id="another"))
    assert isinstance(refusal, TaskIDConflictError)
    assert refusal.state is state
