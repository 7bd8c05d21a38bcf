"""Repairs: what they put back is whole again, and what recovered by itself meanwhile is left alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerRefusedError, LeaseLostError
from asynq.protocol.doctor import Fault
from asynq.protocol.ops import (
    Done,
    Examine,
    GetTask,
    ListLostLeases,
    RepairGroups,
    WriteScheduler,
    WriteServer,
)
from asynq.task_state import TaskState
from asynq_conformance.laws.presence import entry, server
from asynq_redis.lua.scripts import MARK
from asynq_redis.transport.requests import ScriptCall
from asynq_redis.wire.keys import QueueKeys, SchedulerKeys, ServerKeys
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable


GRACE = 30_000
TASK = "asynq:{q}:t:a"


def repaired(lab: ScriptLab, queue: str = "q", *, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """What the keys of a queue are found to lack; `meanwhile` happens between finding and repairing."""
    page = lab.interrupted(Examine(queue=queue, repair=True), meanwhile, after=2)
    return {(finding.fault, finding.name) for finding in page.findings}


def test_a_repaired_task_is_complete(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.delete("asynq:{q}:pending")
    lab.client.hdel(TASK, "pending_since")
    lab.clock.advance(5000)
    assert repaired(lab) == {(Fault.ORPHANED_TASK, "a")}
    assert lab.one(GetTask(queue="q", task_id="a")).pending_since == lab.clock.now()
    assert [delivery.message.id for delivery in lab.take()] == ["a"]


def test_a_relisted_active_task_is_lost_after_a_grace_period(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.client.delete("asynq:{q}:active", "asynq:{q}:lease")
    assert repaired(lab) == {(Fault.ORPHANED_TASK, "a")}
    assert isinstance(lab.one(Done(delivery=delivery)), LeaseLostError)
    lab.clock.advance(GRACE - 1)
    assert lab.one(ListLostLeases(queue="q")).leases == ()
    lab.clock.advance(2)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    assert lost.message.id == "a"


def test_a_group_is_listed_with_its_repaired_task(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    lab.client.delete("asynq:{q}:g:g", "asynq:{q}:groups")
    assert (Fault.ORPHANED_TASK, "a") in repaired(lab)
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}
    assert lab.client.zrange("asynq:{q}:g:g", 0, -1) == [b"a"]


def test_groups_of_all_tasks_are_read_before_the_first_repair(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), *(message(name, group=name) for name in ("b", "c", "d")))
    lab.client.delete("asynq:{q}:pending", *(f"asynq:{{q}}:g:{name}" for name in "bcd"))
    assert {name for fault, name in repaired(lab) if fault is Fault.ORPHANED_TASK} == set("abcd")
    assert lab.client.scard("asynq:{q}:groups") == 3


MEANWHILE: dict[str, tuple[TaskState, Callable[[ScriptLab], object]]] = {
    "listed": (TaskState.PENDING, lambda lab: lab.client.lpush("asynq:{q}:pending", "a")),
    "in its group": (TaskState.AGGREGATING, lambda lab: lab.client.zadd("asynq:{q}:g:g", {"a": 1})),
    "in a set": (
        TaskState.AGGREGATING,
        lambda lab: (
            lab.client.zadd("asynq:{q}:g:g:s", {"a": 1}),
            lab.client.zadd("asynq:{q}:aggregation_sets", {"asynq:{q}:g:g:s": 9e9}),
        ),
    ),
    "another message": (TaskState.PENDING, lambda lab: lab.client.hset(TASK, "msg", b"\xff")),
    "another state": (TaskState.PENDING, lambda lab: lab.client.hset(TASK, "state", "completed")),
}


@pytest.mark.parametrize(("state", "meanwhile"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_finding_that_has_changed_is_not_repaired(
    lab: ScriptLab, state: TaskState, meanwhile: Callable[[ScriptLab], object]
) -> None:
    lab.enqueue(message("a", group="g" if state is TaskState.AGGREGATING else ""))
    lab.client.delete("asynq:{q}:pending", "asynq:{q}:g:g", "asynq:{q}:groups")
    content: dict[Any, Any] = {}

    def change() -> None:
        meanwhile(lab)
        content.update(lab.content())

    repaired(lab, meanwhile=change)
    assert lab.content() == content


@pytest.mark.parametrize("queue", ["a*b", "a?b", "a[x]b", "a\\b"])
def test_names_of_queues_are_not_patterns(lab: ScriptLab, queue: str) -> None:
    others = ["aXXb", "axb", "ab"]
    for name in (queue, *others):
        lab.enqueue(message("t", name), message("in-group", name, group=f"of {name}"))
        lab.client.delete(QueueKeys(name).pending, QueueKeys(name).groups)
    assert repaired(lab, queue) == {(Fault.ORPHANED_TASK, "t"), (Fault.UNLISTED_GROUP, f"of {queue}")}
    lab.client.delete(QueueKeys(queue).groups)
    assert lab.one(RepairGroups(queue=queue)).listed == 1
    assert set(lab.client.smembers(QueueKeys(queue).groups)) == {f"of {queue}".encode()}
    assert not lab.client.exists(*(QueueKeys(name).pending for name in others))


def test_one_search_finds_the_unlisted_groups_of_many_queues(lab: ScriptLab) -> None:
    group, in_set = "first}:g:second", "asynq:{plain}:g:listed:s"
    names = ["plain", "a*b", "with}:g:in it", "none", "damaged", *(f"other{number}" for number in range(100))]
    for name in names:
        lab.enqueue(message("t", name, group="" if name == "none" else group))
        lab.client.delete(QueueKeys(name).groups)
    lab.client.set(QueueKeys("damaged").groups, "not ours")
    lab.client.zadd(in_set, {"u": 1})
    lab.client.zadd(QueueKeys("plain").aggregation_sets, {in_set: 9e9})
    listed, cursors, searches = Counter[str](), dict.fromkeys(names, ""), 0
    while cursors:
        lab.calls.clear()
        answers = lab.many(*(RepairGroups(queue=name, cursor=cursor) for name, cursor in cursors.items()))
        searches = max(searches, len(lab.calls))
        found = dict(zip(cursors, answers, strict=True))
        refused = found.pop("damaged", BrokerRefusedError("WRONGTYPE"))
        assert isinstance(refused, BrokerRefusedError)
        assert "WRONGTYPE" in str(refused)
        listed.update({name: answer.listed for name, answer in found.items()})
        cursors = {name: answer.cursor for name, answer in found.items() if answer.cursor}
    assert searches == 2
    assert listed == Counter(dict.fromkeys(set(names) - {"none", "damaged"}, 1))
    for name in set(names) - {"none", "damaged"}:
        assert lab.client.smembers(QueueKeys(name).groups) == {group.encode()}


# --- what is written beside tasks ---------------------------------------------------------------------------


def test_an_incomplete_write_of_a_crashed_writer_is_not_visible(lab: ScriptLab) -> None:
    told = server(workers=1)
    keys, entries = ServerKeys.of(told.host, told.pid, told.id), SchedulerKeys("h:1:a")
    lab.client.hset(keys.draft, "begun", "half")
    lab.client.rpush(entries.draft, "half")
    lab.many(
        WriteServer(server=told, ttl=1000), WriteScheduler(scheduler_id="h:1:a", entries=(entry(),), ttl=1000)
    )
    assert lab.client.hlen(keys.workers) == lab.client.llen(entries.entries) == 1
    assert not lab.client.exists(keys.draft, entries.draft)


def test_a_mark_expires(lab: ScriptLab) -> None:
    lab._send(ScriptCall(MARK, ("asynq:{q}:py:mark", "asynq:{q}:pending"), (5000,)))
    assert lab.client.keys() == [b"asynq:{q}:py:mark"]
    assert lab.client.get("asynq:{q}:py:mark") == b""
    assert 0 < lab.client.pttl("asynq:{q}:py:mark") <= 5000
