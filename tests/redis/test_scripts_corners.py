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
from tests.redis.script_lab import ScriptLab, message

GROUPS, SETS = "asynq:{q}:groups", "asynq:{q}:aggregation_sets"


def archive_with_locks(lab: ScriptLab, *ids: str) -> None:
    """Archived tasks, each with its own lock."""
    for name in ids:
        locked = message(name, unique_key=f"asynq:{{q}}:unique:t:{name}")
        lab.enqueue(locked, unique=Unique(ttl=600_000))
        lab.one(Archive(delivery=lab.take(token=name)[0], error="no"))


def replacing(name: str) -> Enqueue:
    return Enqueue(message=message(name), enqueue_id=f"new-{name}", on_conflict="replace_finished")


def test_locks_of_all_replaced_tasks_are_read_before_the_first_write(lab: ScriptLab) -> None:
    archive_with_locks(lab, "a", "b", "c")
    answers = lab.all([replacing("a"), replacing("b"), replacing("c")])
    assert {answer.state for answer in answers} == {TaskState.PENDING}
    assert lab.client.keys("asynq:*unique*") == []


def test_locks_of_all_tasks_replaced_by_ticks_are_read_before_the_first_write(lab: ScriptLab) -> None:
    archive_with_locks(lab, "a", "b", "c")
    ticks: list[Any] = [
        EnqueueTick(entry_id=name, tick=lab.clock.now(), keep=60_000, enqueue=replacing(name))
        for name in "abc"
    ]
    assert all(answer.enqueued is not None for answer in lab.all(ticks))
    assert lab.client.keys("asynq:*unique*") == []


def test_names_of_empty_groups_and_sets_do_not_keep_a_queue(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.sadd(GROUPS, "empty")
    lab.client.zadd(SETS, {"asynq:{q}:g:empty:set": 1, "asynq:{q}:nothing": 2})
    deletion = DeleteQueue(queue="q", force=True, limit=10)
    assert lab.one(deletion) == Deletion(tasks=1, done=True)
    assert lab.client.keys() == []


@pytest.mark.parametrize("taken", [False, True])
def test_the_name_of_a_group_is_removed_with_its_last_task(lab: ScriptLab, taken: bool) -> None:
    lab.enqueue(message("a", group="g"), message("b", group="g"), message("c"))
    if taken:
        lab.clock.advance(1000)
        lab.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    names = SETS if taken else GROUPS
    assert lab.one(DeleteQueue(queue="q", force=True, limit=1)).tasks == 1
    assert lab.client.exists(names)
    assert lab.one(DeleteQueue(queue="q", force=True, limit=1)).tasks == 1
    assert not lab.client.exists(names)


def test_an_active_task_listed_as_pending_is_not_moved(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    [delivery] = lab.take()
    lab.client.lpush("asynq:{q}:pending", "a")
    assert lab.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=10)) == 1
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == []
    assert lab.client.zrange("asynq:{q}:archived", 0, -1) == [b"b"]
    assert lab.one(Done(delivery=delivery)) is None


def test_remains_of_a_task_are_removed_when_its_id_is_moved(lab: ScriptLab) -> None:
    lab.enqueue(message("remnant"), message("b"))
    lab.client.hdel("asynq:{q}:t:remnant", "msg")
    assert lab.one(MoveTasks(queue="q", state=TaskState.PENDING, to="archived", limit=10)) == 1
    assert not lab.client.exists("asynq:{q}:t:remnant")


@pytest.mark.parametrize("failed", [5, 2**63 - 1])
def test_a_failure_restarts_both_totals(lab: ScriptLab, failed: int) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.client.mset({"asynq:{q}:processed": 2**63 - 1, "asynq:{q}:failed": failed})
    assert lab.one(Retry(delivery=delivery, delay=1, error="no")) is None
    assert lab.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"1", b"1"]


def test_a_rate_limit_stores_no_unneeded_tokens(lab: ScriptLab) -> None:
    token = TakeToken(scope="s", limit=2, per=60_000)
    for _ in range(4):
        assert lab.many(token, token) == [0, 0]
        lab.clock.advance(60_000)
    assert lab.client.llen("asynq:py:rate:s") == 2
    assert 0 < lab.client.pttl("asynq:py:rate:s") <= 60_000


def test_a_recovery_restarts_both_totals(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take(lease=1000)
    lab.client.mset({"asynq:{q}:processed": 2**63 - 1, "asynq:{q}:failed": 5})
    lab.clock.advance(2000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    assert lab.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert lab.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"1", b"1"]


def test_active_id_without_task_is_removed(lab: ScriptLab) -> None:
    lab.enqueue(message("gone"), message("here"))
    lab.take(2)
    lab.client.hdel("asynq:{q}:t:gone", "msg")
    faults = [(finding.fault, finding.name) for finding in lab.examine(repair=True)]
    assert (Fault.MISSING_TASK, "gone") in faults
    assert lab.client.zrange("asynq:{q}:lease", 0, -1) == [b"here"]
    assert lab.client.lrange("asynq:{q}:active", 0, -1) == [b"here"]
    assert not lab.client.exists("asynq:{q}:t:gone")
