"""Repairs: what they put back is whole again, and what recovered by itself meanwhile is left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import LeaseLostError
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
from tests.redis.driver import Driver, message

if TYPE_CHECKING:
    from collections.abc import Callable


GRACE = 30_000
TASK = "asynq:{q}:t:a"


def repaired(driver: Driver, queue: str = "q", *, meanwhile: Callable[[], object] = lambda: None) -> Any:
    """What the keys of a queue are found to lack; `meanwhile` happens between finding and repairing."""
    page = driver.interrupted(Examine(queue=queue, repair=True), meanwhile, after=2)
    return {(finding.fault, finding.name) for finding in page.findings}


def test_a_repaired_task_is_complete(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.delete("asynq:{q}:pending")
    driver.client.hdel(TASK, "pending_since")
    driver.clock.advance(5000)
    assert repaired(driver) == {(Fault.ORPHANED_TASK, "a")}
    assert driver.one(GetTask(queue="q", task_id="a")).pending_since == driver.clock.now()
    assert [delivery.message.id for delivery in driver.take()] == ["a"]


def test_a_relisted_active_task_is_lost_after_a_grace_period(driver: Driver) -> None:
    driver.enqueue(message("a"))
    [delivery] = driver.take()
    driver.client.delete("asynq:{q}:active", "asynq:{q}:lease")
    assert repaired(driver) == {(Fault.ORPHANED_TASK, "a")}
    assert isinstance(driver.one(Done(delivery=delivery)), LeaseLostError)
    driver.clock.advance(GRACE - 1)
    assert driver.one(ListLostLeases(queue="q")).leases == ()
    driver.clock.advance(2)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    assert lost.message.id == "a"


def test_a_group_is_listed_with_its_repaired_task(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.client.delete("asynq:{q}:g:g", "asynq:{q}:groups")
    assert (Fault.ORPHANED_TASK, "a") in repaired(driver)
    assert set(driver.client.smembers("asynq:{q}:groups")) == {b"g"}
    assert driver.client.zrange("asynq:{q}:g:g", 0, -1) == [b"a"]


def test_groups_of_all_tasks_are_read_before_the_first_repair(driver: Driver) -> None:
    driver.enqueue(message("a"), *(message(name, group=name) for name in ("b", "c", "d")))
    driver.client.delete("asynq:{q}:pending", *(f"asynq:{{q}}:g:{name}" for name in "bcd"))
    assert {name for fault, name in repaired(driver) if fault is Fault.ORPHANED_TASK} == set("abcd")
    assert driver.client.scard("asynq:{q}:groups") == 3


MEANWHILE: dict[str, tuple[TaskState, Callable[[Driver], object]]] = {
    "listed": (TaskState.PENDING, lambda driver: driver.client.lpush("asynq:{q}:pending", "a")),
    "in its group": (TaskState.AGGREGATING, lambda driver: driver.client.zadd("asynq:{q}:g:g", {"a": 1})),
    "in a set": (
        TaskState.AGGREGATING,
        lambda driver: (
            driver.client.zadd("asynq:{q}:g:g:s", {"a": 1}),
            driver.client.zadd("asynq:{q}:aggregation_sets", {"asynq:{q}:g:g:s": 9e9}),
        ),
    ),
    "another message": (TaskState.PENDING, lambda driver: driver.client.hset(TASK, "msg", b"\xff")),
    "another state": (TaskState.PENDING, lambda driver: driver.client.hset(TASK, "state", "completed")),
}


@pytest.mark.parametrize(("state", "meanwhile"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_finding_that_has_changed_is_not_repaired(
    driver: Driver, state: TaskState, meanwhile: Callable[[Driver], object]
) -> None:
    driver.enqueue(message("a", group="g" if state is TaskState.AGGREGATING else ""))
    driver.client.delete("asynq:{q}:pending", "asynq:{q}:g:g", "asynq:{q}:groups")
    content: dict[Any, Any] = {}

    def change() -> None:
        meanwhile(driver)
        content.update(driver.content())

    repaired(driver, meanwhile=change)
    assert driver.content() == content


@pytest.mark.parametrize("queue", ["a*b", "a?b", "a[x]b", "a\\b"])
def test_names_of_queues_are_not_patterns(driver: Driver, queue: str) -> None:
    others = ["aXXb", "axb", "ab"]
    for name in (queue, *others):
        driver.enqueue(message("t", name), message("in-group", name, group=f"of {name}"))
        driver.client.delete(QueueKeys(name).pending, QueueKeys(name).groups)
    assert repaired(driver, queue) == {(Fault.ORPHANED_TASK, "t"), (Fault.UNLISTED_GROUP, f"of {queue}")}
    driver.client.delete(QueueKeys(queue).groups)
    assert driver.one(RepairGroups(queue=queue)).listed == 1
    assert set(driver.client.smembers(QueueKeys(queue).groups)) == {f"of {queue}".encode()}
    assert not driver.client.exists(*(QueueKeys(name).pending for name in others))


# --- what is written beside tasks ---------------------------------------------------------------------------


def test_an_incomplete_write_of_a_crashed_writer_is_not_visible(driver: Driver) -> None:
    told = server(workers=1)
    keys, entries = ServerKeys.of(told.host, told.pid, told.id), SchedulerKeys("h:1:a")
    driver.client.hset(keys.draft, "begun", "half")
    driver.client.rpush(entries.draft, "half")
    driver.many(
        WriteServer(server=told, ttl=1000), WriteScheduler(scheduler_id="h:1:a", entries=(entry(),), ttl=1000)
    )
    assert driver.client.hlen(keys.workers) == driver.client.llen(entries.entries) == 1
    assert not driver.client.exists(keys.draft, entries.draft)


def test_a_mark_expires(driver: Driver) -> None:
    driver._send(ScriptCall(MARK, ("asynq:{q}:py:mark", "asynq:{q}:pending"), (5000,)))
    assert driver.client.keys() == [b"asynq:{q}:py:mark"]
    assert driver.client.get("asynq:{q}:py:mark") == b""
    assert 0 < driver.client.pttl("asynq:{q}:py:mark") <= 5000
