"""Leases that lapsed and leases that are missing: what is found, page by page, and what is left of it."""

from __future__ import annotations

import pytest

from asynq.protocol.ops import Adopted, AdoptOrphans, ListLostLeases
from tests.redis.script_lab import NO_TASK, ScriptLab, message

ACTIVE, LEASE = "asynq:{q}:active", "asynq:{q}:lease"


def calls_of(lab: ScriptLab, script: str) -> int:
    """How often a script was called."""
    return sum(call.script.name == script for call in lab.calls)


# --- adopted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*NO_TASK, "nothing"])
def test_an_active_id_without_a_task_is_removed_with_its_remains(lab: ScriptLab, kind: str) -> None:
    lab.client.lpush(ACTIVE, "gone")
    if kind in NO_TASK:
        NO_TASK[kind](lab.client, "asynq:{q}:t:gone")
    assert lab.one(AdoptOrphans(queue="q", grace=1)) == Adopted(adopted=0, dropped=1, cursor=0)
    assert lab.client.keys() == []


def test_an_orphan_is_recovered_regardless_of_its_state(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.rpoplpush("asynq:{q}:pending", ACTIVE)  # whoever did this did nothing more
    assert lab.one(AdoptOrphans(queue="q", grace=1000)).adopted == 1
    lab.clock.advance(2000)
    assert [lost.message.id for lost in lab.one(ListLostLeases(queue="q")).leases] == ["a"]


def test_no_orphan_is_skipped_after_removed_ids(lab: ScriptLab) -> None:
    lab.enqueue(*(message(name) for name in "abcd"))
    lab.take(4)
    lab.client.delete(LEASE, "asynq:{q}:t:a")
    first = lab.one(AdoptOrphans(queue="q", grace=1000, limit=2))
    assert first == Adopted(adopted=1, dropped=1, cursor=1)
    rest = lab.one(AdoptOrphans(queue="q", grace=1000, limit=2, cursor=first.cursor))
    assert rest.adopted == 2


# --- lost -----------------------------------------------------------------------------------------------


@pytest.fixture
def late(lab: ScriptLab) -> ScriptLab:
    """Tasks "00" to "79", whose leases have lapsed in this order."""
    lab.enqueue(*(message(f"{number:02}") for number in range(80)))
    for token in ("first", "second"):
        lab.take(40, token=token, lease=1000)
        lab.clock.advance(2000)
    return lab


def test_missing_tasks_do_not_hide_a_lost_one(late: ScriptLab) -> None:
    late.client.delete(*(f"asynq:{{q}}:t:{number:02}" for number in range(40)))
    found = late.one(ListLostLeases(queue="q", limit=100))
    assert [lost.message.id for lost in found.leases] == [f"{number}" for number in range(40, 80)]
    assert found.dropped == 40
    assert late.client.llen(ACTIVE) == 40


def test_an_expired_lease_of_an_inactive_task_is_removed_without_the_task(late: ScriptLab) -> None:
    for number in range(40):
        late.client.hset(f"asynq:{{q}}:t:{number:02}", "state", "retry")
    found = late.one(ListLostLeases(queue="q", limit=100))
    assert [lost.message.id for lost in found.leases] == [f"{number}" for number in range(40, 80)]
    assert found.dropped == 0
    assert late.client.zcard(LEASE) == 40
    assert late.client.hget("asynq:{q}:t:00", "state") == b"retry"


@pytest.mark.parametrize("damage", ["gone", "elsewhere"])
def test_a_call_removes_at_most_fifty_leases(late: ScriptLab, damage: str) -> None:
    for number in range(80):
        key = f"asynq:{{q}}:t:{number:02}"
        late.client.delete(key) if damage == "gone" else late.client.hset(key, "state", "retry")
    assert late.one(ListLostLeases(queue="q", limit=100)).leases == ()
    assert calls_of(late, "list_lost") == 2
    assert late.client.zcard(LEASE) == 0


def test_a_call_reads_a_bounded_number_of_go_leases(lab: ScriptLab) -> None:
    go = {f"go-{number}": 1_700_000_001 for number in range(600)}
    lab.client.zadd(LEASE, go)
    lab.clock.advance(2000)
    assert lab.one(ListLostLeases(queue="q")).leases == ()
    assert [call.args[3] for call in lab.calls if call.script.name == "list_lost"] == [0, 250, 500]
