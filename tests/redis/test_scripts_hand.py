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
from tests.redis.script_lab import ScriptLab, message, unique

HASH, LOCK = "asynq:{q}:t:a", unique("any").unique_key


def test_a_manually_archived_task_confirms_no_archiving_of_its_worker(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.one(Requeue(delivery=delivery))
    assert lab.one(ArchiveTask(queue="q", task_id="a")) is None
    assert isinstance(lab.one(Archive(delivery=delivery, error="no")), LeaseLostError)


def test_a_manually_run_task_confirms_no_requeue_of_its_worker(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.one(Retry(delivery=delivery, delay=60_000, error="no"))
    assert lab.one(RunTask(queue="q", task_id="a")) is None
    assert isinstance(lab.one(Requeue(delivery=delivery)), LeaseLostError)


@pytest.mark.parametrize("archived", [False, True])
def test_running_or_archiving_a_task_manually_removes_its_cancellation(
    lab: ScriptLab, archived: bool
) -> None:
    lab.enqueue(message("a"), process_in=60_000)
    lab.client.hset(HASH, "cancel", "archive")
    if archived:
        assert lab.one(ArchiveTask(queue="q", task_id="a")) is None
        assert not lab.client.hexists(HASH, "cancel")
    assert lab.one(RunTask(queue="q", task_id="a")) is None
    assert lab.take()[0].cancel == ""


@pytest.mark.parametrize(("until", "held"), [("done", b"a"), ("expiry", b"expiry:a"), ("start", None)])
def test_running_a_task_manually_takes_its_kept_lock_again_unless_until_start(
    lab: ScriptLab, until: Any, held: bytes | None
) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000, until=until, keep=True))
    lab.one(Retry(delivery=lab.take()[0], delay=60_000, error="no"))
    lab.client.delete(LOCK)
    assert lab.one(RunTask(queue="q", task_id="a")) is None
    assert lab.client.get(LOCK) == held
    if held:
        assert 2000 < lab.client.pttl(LOCK) <= 5000


def test_running_a_task_manually_does_not_take_a_lock_that_is_not_kept(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000), process_in=60_000)
    lab.client.delete(LOCK)
    assert lab.one(RunTask(queue="q", task_id="a")) is None
    assert not lab.client.exists(LOCK)


def test_tasks_removed_at_once_by_a_full_archive_release_only_their_own_locks(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=60_000))
    other = message("b", unique_key="asynq:{q}:unique:b:")
    lab.enqueue(other, unique=Unique(ttl=60_000))
    lab.client.set(other.unique_key, "c")
    assert lab.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", max_size=0)) == 2
    assert lab.client.keys("asynq:*unique*") == [b"asynq:{q}:unique:b:"]
    assert lab.client.keys("asynq:{q}:t:*") == []


def test_running_the_last_task_of_a_group_manually_removes_its_name(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"), message("b", group="g"))
    lab.one(RunTask(queue="q", task_id="a"))
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}
    lab.one(RunTask(queue="q", task_id="b"))
    assert not lab.client.exists("asynq:{q}:groups")


def test_running_the_only_scheduled_task_of_a_group_manually_keeps_its_name(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    lab.enqueue(message("b", group="g"), process_in=60_000)
    assert lab.one(RunTask(queue="q", task_id="b")) is None
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}


def test_remains_of_a_task_can_only_be_deleted(lab: ScriptLab) -> None:
    lab.client.hset(HASH, mapping={"state": "archived", "result": "half"})
    for operation in (GetTask, RunTask, ArchiveTask):
        assert isinstance(lab.one(operation(queue="q", task_id="a")), TaskNotFoundError)
    assert lab.client.keys() == [HASH.encode()]
    assert lab.one(DeleteTask(queue="q", task_id="a")) is None
    assert lab.client.keys() == []
    assert isinstance(lab.one(DeleteTask(queue="q", task_id="a")), TaskNotFoundError)


def test_a_key_without_a_task_does_not_count_as_a_task(lab: ScriptLab) -> None:
    lab.client.set(HASH, "somebody's")
    assert isinstance(lab.one(GetTask(queue="q", task_id="a")), TaskNotFoundError)


@pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.ARCHIVED])
def test_an_id_conflict_contains_the_state_of_the_existing_task(lab: ScriptLab, state: TaskState) -> None:
    lab.enqueue(message("a"))
    if state is TaskState.ARCHIVED:
        lab.one(ArchiveTask(queue="q", task_id="a"))
    refusal = lab.one(Enqueue(message=message("a"), enqueue_id="another"))
    assert isinstance(refusal, TaskIDConflictError)
    assert refusal.state is state
