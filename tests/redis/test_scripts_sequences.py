"""Sequences beside Go, which knows nothing of them, and with damaged keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.ops import (
    AdvanceSequences,
    Archive,
    ArchiveTask,
    Complete,
    DeleteQueue,
    DeleteTask,
    Done,
    Enqueue,
    Enqueued,
    Forward,
    GetTask,
    ListLostLeases,
    Recover,
)
from asynq.protocol.sequences import SEQUENCE_HEADER, WAITING
from asynq.task_state import TaskState
from asynq_redis.wire import task_message
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery, TaskMessage
    from asynq.protocol.ops import Op

P = "asynq:{q}:"
NAMES, PLACES = f"{P}py:sequences", f"{P}py:seq:s"
WAITING_SECOND = WAITING // 1000


def sequenced(task_id: str, **fields: Any) -> TaskMessage:
    return message(task_id, headers={SEQUENCE_HEADER: "s"}, **fields)


def states(lab: ScriptLab, *ids: str) -> list[str]:
    found: list[Any] = [lab.client.hget(f"{P}t:{task_id}", "state") for task_id in ids]
    return [state.decode() if state else "gone" for state in found]


def go_takes(lab: ScriptLab, task_id: str) -> None:
    """What Go's dequeue does."""
    assert lab.client.rpoplpush(f"{P}pending", f"{P}active") == task_id.encode()
    lab.client.hset(f"{P}t:{task_id}", "state", "active")
    lab.client.hdel(f"{P}t:{task_id}", "pending_since")
    lab.client.zadd(f"{P}lease", {task_id: lab.clock.now() // 1000 + 30})


def go_ends(lab: ScriptLab, task_id: str, state: str) -> None:
    """What Go's done, complete, archive and retry do; "gone" for done."""
    lab.client.lrem(f"{P}active", 0, task_id)
    lab.client.zrem(f"{P}lease", task_id)
    if state == "gone":
        lab.client.delete(f"{P}t:{task_id}")
    else:
        lab.client.zadd(f"{P}{state}", {task_id: lab.clock.now() // 1000 + 60})
        data = task_message.encode(sequenced(task_id))  # Go writes the message again, with the headers
        lab.client.hset(f"{P}t:{task_id}", mapping={"msg": data, "state": state})


@pytest.mark.parametrize("state", ["gone", "completed", "archived"])
def test_the_next_task_runs_after_one_that_go_ended(lab: ScriptLab, state: str) -> None:
    lab.enqueue(*map(sequenced, "abc"))
    go_takes(lab, "a")
    assert lab.one(AdvanceSequences(queue="q")).promoted == 0
    go_ends(lab, "a", state)
    assert states(lab, "b", "c") == ["scheduled", "scheduled"]
    assert lab.one(AdvanceSequences(queue="q")).promoted == 1
    assert lab.one(AdvanceSequences(queue="q")).promoted == 0
    assert states(lab, "b", "c") == ["pending", "scheduled"]
    assert lab.client.zscore(f"{P}scheduled", "c") == WAITING_SECOND


def test_a_task_that_go_retries_keeps_its_turn(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "ab"))
    go_takes(lab, "a")
    go_ends(lab, "a", "retry")
    assert lab.one(AdvanceSequences(queue="q")).promoted == 0
    lab.clock.advance(61_000)
    assert lab.one(Forward(queue="q")).moved == 1
    [run] = lab.take(5)
    lab.one(Done(delivery=run))
    assert states(lab, "a", "b") == ["gone", "pending"]


def test_an_enqueue_finds_that_go_ended_the_head(lab: ScriptLab) -> None:
    lab.enqueue(sequenced("a"))
    go_takes(lab, "a")
    go_ends(lab, "a", "gone")
    lab.enqueue(*map(sequenced, "bc"))
    assert states(lab, "b", "c") == ["pending", "scheduled"]


def test_an_enqueue_lets_an_earlier_task_run_after_one_that_go_ended(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "ab"))
    go_takes(lab, "a")
    go_ends(lab, "a", "gone")
    assert lab.enqueue(sequenced("c")) == [Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)]
    assert states(lab, "b", "c") == ["pending", "scheduled"]


def test_waiting_tasks_that_go_deleted_or_archived_have_no_turn(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "abcd"))
    lab.client.zrem(f"{P}scheduled", "b", "c")
    lab.client.delete(f"{P}t:b")
    lab.client.zadd(f"{P}archived", {"c": 1})
    lab.client.hset(f"{P}t:c", "state", "archived")
    [run] = lab.take(5)
    lab.one(Done(delivery=run))
    assert states(lab, "c", "d") == ["archived", "pending"]


def test_an_id_that_another_task_has_now_keeps_nobody_waiting(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "ab"))
    go_takes(lab, "a")
    go_ends(lab, "a", "gone")
    lab.all([Enqueue(message=message("a"), enqueue_id="without a sequence")])
    assert lab.one(AdvanceSequences(queue="q")).promoted == 1
    assert states(lab, "a", "b") == ["pending", "pending"]


ENDS: dict[str, Callable[[Delivery], Op[Any]]] = {
    "done": lambda run: Done(delivery=run),
    "complete": lambda run: Complete(delivery=run),
    "archive": lambda run: Archive(delivery=run, error="final"),
}


def go_runs(lab: ScriptLab, task_id: str) -> Delivery:
    """Take a waiting task after what Go's RunTask does, which knows no sequences."""
    lab.client.zrem(f"{P}scheduled", task_id)
    lab.client.lpush(f"{P}pending", task_id)
    lab.client.hset(f"{P}t:{task_id}", "state", "pending")
    run: Delivery
    [run] = lab.take(5, token=f"run of {task_id}")
    assert run.message.id == task_id
    return run


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_the_end_of_a_waiting_task_that_go_ran_removes_its_place(
    lab: ScriptLab, end: Callable[[Delivery], Op[Any]]
) -> None:
    lab.enqueue(*(sequenced(name, retention=60) for name in "abc"))
    lab.take(5)
    assert lab.one(end(go_runs(lab, "b"))) is None
    assert lab.client.zrange(PLACES, 0, -1) == [b"a", b"c"]
    assert states(lab, "a", "c") == ["active", "scheduled"]


def test_the_recovery_of_a_waiting_task_that_go_ran_removes_its_place(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "abc"))
    lab.take(5)
    go_runs(lab, "b")
    lab.clock.advance(31_000)
    [lost] = [one for one in lab.one(ListLostLeases(queue="q")).leases if one.message.id == "b"]
    assert lab.one(Recover(lost=lost, to="archived", error="lost"))
    assert lab.client.zrange(PLACES, 0, -1) == [b"a", b"c"]


def test_a_sequence_without_tasks_leaves_no_key(lab: ScriptLab) -> None:
    ends: list[Callable[[str], object]] = [
        lambda name: lab.one(Done(delivery=lab.take()[0])),
        lambda name: lab.one(ArchiveTask(queue="q", task_id=name)),
        lambda name: lab.one(DeleteTask(queue="q", task_id=name)),
        lambda name: lab.client.delete(f"{P}t:{name}"),
    ]
    for number, end in enumerate(ends):
        lab.enqueue(sequenced(f"t{number}"))
        assert lab.client.exists(NAMES, PLACES) == 2
        end(f"t{number}")
        lab.one(AdvanceSequences(queue="q"))
        assert lab.client.exists(NAMES, PLACES) == 0, number


def test_an_ordinary_settlement_looks_at_no_sequence(lab: ScriptLab) -> None:
    lab.enqueue(sequenced("a"), message("b"))
    runs = lab.take(5)
    before = lab.client.info("commandstats")
    lab.one(Done(delivery=next(run for run in runs if run.message.id == "b")))
    after = lab.client.info("commandstats")
    for command in ("cmdstat_zrange", "cmdstat_zcard"):
        assert after.get(command, {}).get("calls") == before.get(command, {}).get("calls"), command


@pytest.mark.parametrize("damaged", [NAMES, PLACES])
def test_a_damaged_sequence_blocks_no_settlement(lab: ScriptLab, damaged: str) -> None:
    lab.enqueue(sequenced("a", retention=60), sequenced("b"))
    [run] = lab.take(5)
    kept = lab.client.dump(damaged)
    assert kept
    lab.client.set(damaged, "text")
    assert lab.one(Complete(delivery=run)) is None
    assert states(lab, "a", "b") == ["completed", "scheduled"]
    refused = lab.enqueue(sequenced("c"))[0]
    assert "WRONGTYPE" in str(refused)
    lab.client.restore(damaged, 0, kept, replace=True)
    assert lab.one(AdvanceSequences(queue="q")).promoted == 1
    assert states(lab, "b", "c") == ["pending", "gone"]


def test_many_tasks_that_go_deleted_are_skipped_a_part_at_a_time(lab: ScriptLab) -> None:
    ids = [f"{number:03}" for number in range(103)]
    lab.enqueue(*map(sequenced, ids))
    lab.client.delete(*(f"{P}t:{name}" for name in ids[:-1]))
    assert [lab.one(AdvanceSequences(queue="q")).promoted for _ in range(3)] == [0, 0, 1]
    assert lab.one(GetTask(queue="q", task_id=ids[-1])).state == "pending"


def test_a_queue_with_a_damaged_sequence_can_be_deleted(lab: ScriptLab) -> None:
    lab.enqueue(*map(sequenced, "ab"))
    lab.client.sadd("asynq:queues", "q")
    lab.client.set(PLACES, "text")
    assert lab.one(DeleteQueue(queue="q", force=True, limit=1)).tasks == 1
    while not lab.one(DeleteQueue(queue="q", force=True)).done:
        pass
    assert lab.client.keys(f"{P}*") == []


def test_many_sequences_of_a_deleted_queue_are_deleted(lab: ScriptLab) -> None:
    messages = [message(str(n), headers={SEQUENCE_HEADER: f"s{n}"}) for n in range(120)]
    lab.enqueue(*messages)
    lab.client.sadd("asynq:queues", "q")
    while not lab.one(DeleteQueue(queue="q", force=True, limit=100)).done:
        pass
    assert lab.client.keys(f"{P}*") == []
