"""Examinations of a queue where reading page by page is not enough or data is misleading."""

from __future__ import annotations

import pytest

from asynq.errors import LeaseLostError
from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.ops import Done, Enqueue, TakeGroup
from tests.redis.script_lab import NO_TASK, ScriptLab, message


def found(lab: ScriptLab, *, repair: bool = False) -> list[Finding]:
    """All findings in the queue, sorted by name."""
    return sorted(lab.examine(repair=repair), key=lambda finding: finding.name)


def take_group(lab: ScriptLab, set_id: str = "s") -> None:
    lab.clock.advance(1000)
    assert lab.one(TakeGroup(queue="q", group="g", set_id=set_id, grace=0, hold=1000)) is not None


@pytest.mark.parametrize("state", ["pending", "scheduled"])
def test_each_id_without_a_task_is_found_once_and_removed(lab: ScriptLab, state: str) -> None:
    delay = 1000 if state == "scheduled" else None
    names = [f"{number:03}" for number in range(130)]
    lab.enqueue(*map(message, names), process_in=delay)
    gone = [*names[:70], *names[100:]]
    lab.client.delete(*(f"asynq:{{q}}:t:{name}" for name in gone))
    missing = [Finding(fault=Fault.MISSING_TASK, queue="q", name=name) for name in gone]
    assert found(lab) == missing
    assert found(lab, repair=True) == missing
    assert found(lab) == []


@pytest.mark.parametrize("kind", NO_TASK)
def test_an_id_is_removed_with_a_key_that_contains_no_task(lab: ScriptLab, kind: str) -> None:
    lab.client.zadd("asynq:{q}:scheduled", {"a": 1})
    NO_TASK[kind](lab.client, "asynq:{q}:t:a")
    assert Finding(fault=Fault.MISSING_TASK, queue="q", name="a") in found(lab, repair=True)
    assert lab.client.keys("asynq:{q}:*") == []


def test_a_run_loses_its_task_when_a_repair_adds_a_lease(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.client.delete("asynq:{q}:lease")
    assert [finding.fault for finding in found(lab, repair=True)] == [Fault.MISSING_LEASE]
    assert isinstance(lab.one(Done(delivery=delivery)), LeaseLostError)


def test_keys_of_other_types_are_not_repaired(lab: ScriptLab) -> None:
    lab.client.mset({"asynq:{q}:t:a": "text", "asynq:{q}:g:g": "text"})
    assert found(lab, repair=True) == []
    assert sorted(lab.client.keys()) == [b"asynq:{q}:g:g", b"asynq:{q}:t:a"]


def test_a_held_set_has_no_findings(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"), message("b", group="g"))
    take_group(lab)
    assert found(lab) == []


def test_a_task_that_is_in_no_set_of_its_group_is_found(lab: ScriptLab) -> None:
    lab.enqueue(message("held", group="g"))
    take_group(lab)
    lab.enqueue(message("lost", group="g"), message("other", group="h"))
    lab.client.delete("asynq:{q}:g:g")
    assert found(lab) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="lost")]


def test_a_set_of_another_group_does_not_list_a_task(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    take_group(lab)
    lab.client.hset("asynq:{q}:t:a", "group", "h")
    assert found(lab) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="a")]


def test_an_active_task_listed_only_by_its_lease_has_no_finding(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take()
    lab.client.delete("asynq:{q}:active")
    assert found(lab) == []


def test_a_task_missing_from_its_queue_is_found_when_no_older_task_waits(lab: ScriptLab) -> None:
    lab.enqueue(message("older"))
    lab.clock.advance(1000)
    lab.one(Enqueue(message=message("missing"), enqueue_id="e"))
    lab.client.lrem("asynq:{q}:pending", 1, "missing")
    assert found(lab) == []
    lab.one(Done(delivery=lab.take()[0]))
    lab.clock.advance(1000)
    lab.enqueue(message("younger"))
    assert found(lab) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="missing")]


@pytest.mark.parametrize("since", ["", "soon", "9" * 400])
def test_an_invalid_pending_time_does_not_prevent_an_examination(lab: ScriptLab, since: str) -> None:
    lab.enqueue(message("head"), message("strange"), message("missing"))
    for task_id in ("strange", "missing"):
        lab.client.hset(f"asynq:{{q}}:t:{task_id}", "pending_since", since)
    lab.client.lrem("asynq:{q}:pending", 1, "missing")
    expected = [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="missing")]
    assert found(lab) == ([] if since.isdigit() else expected)
