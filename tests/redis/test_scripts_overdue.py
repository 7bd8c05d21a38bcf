"""Leases that lapsed and leases that are missing: what is found, page by page, and what is left of it."""

from __future__ import annotations

import pytest

from asynq.protocol.ops import Adopted, AdoptOrphans, ListLostLeases
from tests.redis.driver import NO_TASK, Driver, message

ACTIVE, LEASE = "asynq:{q}:active", "asynq:{q}:lease"


def calls_of(driver: Driver, script: str) -> int:
    """How often a script was called."""
    return sum(call.script.name == script for call in driver.calls)


# --- adopted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*NO_TASK, "nothing"])
def test_an_active_id_without_a_task_is_removed_with_its_remains(driver: Driver, kind: str) -> None:
    driver.client.lpush(ACTIVE, "gone")
    if kind in NO_TASK:
        NO_TASK[kind](driver.client, "asynq:{q}:t:gone")
    assert driver.one(AdoptOrphans(queue="q", grace=1)) == Adopted(adopted=0, dropped=1, cursor=0)
    assert driver.client.keys() == []


def test_an_orphan_is_recovered_regardless_of_its_state(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.rpoplpush("asynq:{q}:pending", ACTIVE)  # whoever did this did nothing more
    assert driver.one(AdoptOrphans(queue="q", grace=1000)).adopted == 1
    driver.clock.advance(2000)
    assert [lost.message.id for lost in driver.one(ListLostLeases(queue="q")).leases] == ["a"]


def test_no_orphan_is_skipped_after_removed_ids(driver: Driver) -> None:
    driver.enqueue(*(message(name) for name in "abcd"))
    driver.take(4)
    driver.client.delete(LEASE, "asynq:{q}:t:a")
    first = driver.one(AdoptOrphans(queue="q", grace=1000, limit=2))
    assert first == Adopted(adopted=1, dropped=1, cursor=1)
    rest = driver.one(AdoptOrphans(queue="q", grace=1000, limit=2, cursor=first.cursor))
    assert rest.adopted == 2


# --- lost -----------------------------------------------------------------------------------------------


@pytest.fixture
def late(driver: Driver) -> Driver:
    """Tasks "00" to "79", whose leases have lapsed in this order."""
    driver.enqueue(*(message(f"{number:02}") for number in range(80)))
    for token in ("first", "second"):
        driver.take(40, token=token, lease=1000)
        driver.clock.advance(2000)
    return driver


def test_missing_tasks_do_not_hide_a_lost_one(late: Driver) -> None:
    late.client.delete(*(f"asynq:{{q}}:t:{number:02}" for number in range(40)))
    found = late.one(ListLostLeases(queue="q", limit=100))
    assert [lost.message.id for lost in found.leases] == [f"{number}" for number in range(40, 80)]
    assert found.dropped == 40
    assert late.client.llen(ACTIVE) == 40


def test_an_expired_lease_of_an_inactive_task_is_removed_without_the_task(late: Driver) -> None:
    for number in range(40):
        late.client.hset(f"asynq:{{q}}:t:{number:02}", "state", "retry")
    found = late.one(ListLostLeases(queue="q", limit=100))
    assert [lost.message.id for lost in found.leases] == [f"{number}" for number in range(40, 80)]
    assert found.dropped == 0
    assert late.client.zcard(LEASE) == 40
    assert late.client.hget("asynq:{q}:t:00", "state") == b"retry"


@pytest.mark.parametrize("damage", ["gone", "elsewhere"])
def test_a_call_removes_at_most_fifty_leases(late: Driver, damage: str) -> None:
    for number in range(80):
        key = f"asynq:{{q}}:t:{number:02}"
        late.client.delete(key) if damage == "gone" else late.client.hset(key, "state", "retry")
    assert late.one(ListLostLeases(queue="q", limit=100)).leases == ()
    assert calls_of(late, "list_lost") == 2
    assert late.client.zcard(LEASE) == 0


def test_a_call_reads_a_bounded_number_of_go_leases(driver: Driver) -> None:
    go = {f"go-{number}": 1_700_000_001 for number in range(600)}
    driver.client.zadd(LEASE, go)
    driver.clock.advance(2000)
    assert driver.one(ListLostLeases(queue="q")).leases == ()
    assert [call.args[3] for call in driver.calls if call.script.name == "list_lost"] == [0, 250, 500]
