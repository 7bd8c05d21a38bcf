"""Examinations of a queue where reading page by page is not enough or data is misleading."""

from __future__ import annotations

import pytest

from asynq.errors import LeaseLostError
from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.ops import Done, Enqueue, TakeGroup
from tests.redis.driver import NO_TASK, Driver, message


def found(driver: Driver, *, repair: bool = False) -> list[Finding]:
    """All findings in the queue, sorted by name."""
    return sorted(driver.examine(repair=repair), key=lambda finding: finding.name)


def take_group(driver: Driver, set_id: str = "s") -> None:
    driver.clock.advance(1000)
    assert driver.one(TakeGroup(queue="q", group="g", set_id=set_id, grace=0, hold=1000)) is not None


@pytest.mark.parametrize("state", ["pending", "scheduled"])
def test_each_id_without_a_task_is_found_once_and_removed(driver: Driver, state: str) -> None:
    delay = 1000 if state == "scheduled" else None
    names = [f"{number:03}" for number in range(130)]
    driver.enqueue(*map(message, names), process_in=delay)
    gone = [*names[:70], *names[100:]]
    driver.client.delete(*(f"asynq:{{q}}:t:{name}" for name in gone))
    missing = [Finding(fault=Fault.MISSING_TASK, queue="q", name=name) for name in gone]
    assert found(driver) == missing
    assert found(driver, repair=True) == missing
    assert found(driver) == []


@pytest.mark.parametrize("kind", NO_TASK)
def test_an_id_is_removed_with_a_key_that_contains_no_task(driver: Driver, kind: str) -> None:
    driver.client.zadd("asynq:{q}:scheduled", {"a": 1})
    NO_TASK[kind](driver.client, "asynq:{q}:t:a")
    assert Finding(fault=Fault.MISSING_TASK, queue="q", name="a") in found(driver, repair=True)
    assert driver.client.keys("asynq:{q}:*") == []


def test_a_run_loses_its_task_when_a_repair_adds_a_lease(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.client.delete("asynq:{q}:lease")
    assert [finding.fault for finding in found(driver, repair=True)] == [Fault.MISSING_LEASE]
    assert isinstance(driver.one(Done(delivery=delivery)), LeaseLostError)


def test_keys_of_other_types_are_not_repaired(driver: Driver) -> None:
    driver.client.mset({"asynq:{q}:t:a": "text", "asynq:{q}:g:g": "text"})
    assert found(driver, repair=True) == []
    assert sorted(driver.client.keys()) == [b"asynq:{q}:g:g", b"asynq:{q}:t:a"]


def test_a_held_set_has_no_findings(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"), message("b", group="g"))
    take_group(driver)
    assert found(driver) == []


def test_a_task_that_is_in_no_set_of_its_group_is_found(driver: Driver) -> None:
    driver.enqueue(message("held", group="g"))
    take_group(driver)
    driver.enqueue(message("lost", group="g"), message("other", group="h"))
    driver.client.delete("asynq:{q}:g:g")
    assert found(driver) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="lost")]


def test_a_set_of_another_group_does_not_list_a_task(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    take_group(driver)
    driver.client.hset("asynq:{q}:t:a", "group", "h")
    assert found(driver) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="a")]


def test_an_active_task_listed_only_by_its_lease_has_no_finding(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.take()
    driver.client.delete("asynq:{q}:active")
    assert found(driver) == []


def test_a_task_missing_from_its_queue_is_found_when_no_older_task_waits(driver: Driver) -> None:
    driver.enqueue(message("older"))
    driver.clock.advance(1000)
    driver.one(Enqueue(message=message("missing"), enqueue_id="e"))
    driver.client.lrem("asynq:{q}:pending", 1, "missing")
    assert found(driver) == []
    driver.one(Done(delivery=driver.take()[0]))
    driver.clock.advance(1000)
    driver.enqueue(message("younger"))
    assert found(driver) == [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="missing")]


@pytest.mark.parametrize("since", ["", "soon", "9" * 400])
def test_an_invalid_pending_time_does_not_prevent_an_examination(driver: Driver, since: str) -> None:
    driver.enqueue(message("head"), message("strange"), message("missing"))
    for task_id in ("strange", "missing"):
        driver.client.hset(f"asynq:{{q}}:t:{task_id}", "pending_since", since)
    driver.client.lrem("asynq:{q}:pending", 1, "missing")
    expected = [Finding(fault=Fault.ORPHANED_TASK, queue="q", name="missing")]
    assert found(driver) == ([] if since.isdigit() else expected)
