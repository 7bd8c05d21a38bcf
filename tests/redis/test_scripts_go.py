"""Tasks and leases written by Go peers in the same queue."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from asynq.clock import FakeClock
from asynq.errors import LeaseLostError
from asynq.protocol.ops import (
    Archive,
    Complete,
    Done,
    Enqueue,
    ExtendLease,
    Forward,
    ListLostLeases,
    LostLeases,
    Recover,
    Requeue,
    Retry,
    WriteResult,
)
from asynq_redis.wire import task_message
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op
    from tests.servers import RedisServer

GO_GRACE = 30_000


def go_enqueues(lab: ScriptLab, task_id: str) -> None:
    """Write what Go's Enqueue writes."""
    data = task_message.encode(message(task_id, retention=60))
    lab.client.hset(f"asynq:{{q}}:t:{task_id}", mapping={"msg": data, "state": "pending"})
    lab.client.lpush("asynq:{q}:pending", task_id)


def go_dequeues(lab: ScriptLab, expires: int) -> None:
    """Do what Go's Dequeue does, with a lease until this second."""
    task_id = lab.client.rpoplpush("asynq:{q}:pending", "asynq:{q}:active")
    assert isinstance(task_id, bytes)
    lab.client.hset(f"asynq:{{q}}:t:{task_id.decode()}", "state", "active")
    lab.client.zadd("asynq:{q}:lease", {task_id: expires})


SETTLEMENTS: dict[str, Callable[[Delivery], Op[None]]] = {
    "done": lambda delivery: Done(delivery=delivery),
    "complete": lambda delivery: Complete(delivery=delivery),
    "retry": lambda delivery: Retry(delivery=delivery, delay=1000, error="no"),
    "archive": lambda delivery: Archive(delivery=delivery, error="no"),
    "requeue": lambda delivery: Requeue(delivery=delivery),
    "write a result": lambda delivery: WriteResult(lease=delivery.lease, result=b"x"),
}


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
def test_a_task_enqueued_by_go_is_settled_like_ours(
    lab: ScriptLab, settle: Callable[[Delivery], Op[None]]
) -> None:
    go_enqueues(lab, "a")
    [delivery] = lab.take()
    assert lab.one(settle(delivery)) is None


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
def test_a_lease_at_a_whole_second_belongs_to_go(
    lab: ScriptLab, settle: Callable[[Delivery], Op[None]]
) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.client.zadd("asynq:{q}:lease", {"a": 1_700_000_030})
    before = lab.content()
    assert isinstance(lab.one(settle(delivery)), LeaseLostError)
    assert isinstance(lab.one(ExtendLease(lease=delivery.lease, duration=60_000)), LeaseLostError)
    assert lab.content() == before


def test_leases_never_end_at_a_whole_second(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    for token, lease in (("t1", 30_000), ("t2", 1234)):
        [delivery] = lab.take(1, token=token, lease=lease)
        assert delivery.expires_at % 1000 != 0
        assert delivery.expires_at >= lab.clock.now() + lease
        assert lab.client.zscore("asynq:{q}:lease", delivery.message.id) == delivery.expires_at / 1000
    assert delivery.expires_at == 1_700_000_001_234


@pytest.mark.parametrize(("late", "lost"), [(-1, 0), (0, 1), (1, 1)])
def test_a_lease_of_go_is_lost_thirty_seconds_after_its_expiry(lab: ScriptLab, late: int, lost: int) -> None:
    go_enqueues(lab, "a")
    go_dequeues(lab, 1_700_000_030)
    lab.clock.set(1_700_000_030_000 + GO_GRACE + late)
    assert len(lab.one(ListLostLeases(queue="q")).leases) == lost


def test_the_next_expiry_covers_leases_of_go_and_ours(lab: ScriptLab) -> None:
    def next_expiry(now: int) -> int | None:
        lab.clock.set(now)
        answer: LostLeases = lab.one(ListLostLeases(queue="q"))
        return answer.next_expiry

    go_enqueues(lab, "of-go")
    go_dequeues(lab, 1_700_000_030)
    lab.enqueue(message("ours"))
    lab.clock.set(1_700_000_000_000)
    [ours] = lab.take(1, lease=45_500)
    assert next_expiry(1_700_000_000_000) == 1_700_000_030_000  # it may have been written by Go, or not
    assert next_expiry(1_700_000_030_000) == ours.expires_at
    assert next_expiry(1_700_000_050_000) == 1_700_000_030_000 + GO_GRACE
    assert next_expiry(1_700_000_070_000) is None


def test_leases_of_go_in_their_grace_period_do_not_hide_ours(lab: ScriptLab) -> None:
    for number in range(300):
        go_enqueues(lab, f"go-{number}")
        go_dequeues(lab, 1_700_000_001)
    lab.enqueue(*(message(f"ours-{number}") for number in range(60)))
    lab.take(50, token="a")
    lab.take(10, token="b")
    lab.clock.set(1_700_000_030_500)
    leases = lab.one(ListLostLeases(queue="q", limit=100)).leases
    assert len({lease.message.id for lease in leases}) == len(leases) == 60
    assert all(lease.message.id.startswith("ours") for lease in leases)


def test_a_task_lost_by_go_is_recovered(lab: ScriptLab) -> None:
    go_enqueues(lab, "a")
    go_dequeues(lab, 1_700_000_030)
    lab.clock.set(1_700_000_060_000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    assert lab.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert lab.take()[0].message.retried == 1


def test_a_token_of_an_earlier_run_does_not_fence_a_go_run(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.one(Requeue(delivery=delivery))
    go_dequeues(lab, 1_700_000_030)
    assert isinstance(lab.one(Done(delivery=delivery)), LeaseLostError)
    assert lab.client.exists("asynq:{q}:t:a")


def test_go_forwards_our_grouped_task_into_its_group(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"), process_in=1000)
    assert lab.client.hget("asynq:{q}:t:a", "group") == b"g"
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}


@pytest.mark.parametrize(
    "day",
    [
        "1970-01-01",
        "1999-12-31",
        "2000-02-29",
        "2023-03-01",
        "2024-02-29",
        "2024-03-01",
        "2026-11-22",
        "2100-02-28",
        "2100-03-01",
    ],
)
def test_runs_are_counted_under_the_utc_date_as_go_writes_it(redis_server: RedisServer, day: str) -> None:
    for time in ("00:00:00", "23:59:59.999"):
        redis_server.flush()
        now = round(datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=UTC).timestamp() * 1000)
        lab = ScriptLab(redis_server.client, FakeClock(now))
        lab.enqueue(message("a"))
        lab.one(Retry(delivery=lab.take()[0], delay=0, error="no"))
        for counter in ("processed", "failed"):
            key = f"asynq:{{q}}:{counter}:{day}"
            assert redis_server.client.get(key) == b"1"
            assert redis_server.client.ttl(key) == pytest.approx(90 * 86400, abs=2)


@pytest.mark.parametrize("total", [2**63 - 1, 2**63 - 512])
def test_both_totals_restart_at_the_greatest_integer(lab: ScriptLab, total: int) -> None:
    lab.client.set("asynq:{q}:processed", total)
    lab.client.set("asynq:{q}:failed", 7)
    lab.enqueue(message("a"), message("b"))
    lab.all([Archive(delivery=delivery, error="no") for delivery in lab.take(2)])
    assert lab.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"2", b"2"]


def test_a_success_restarts_the_total_and_keeps_that_of_failures(lab: ScriptLab) -> None:
    lab.client.mset({"asynq:{q}:processed": 2**63 - 1, "asynq:{q}:failed": 7})
    lab.enqueue(message("a"))
    lab.one(Done(delivery=lab.take()[0]))
    assert lab.client.mget("asynq:{q}:processed", "asynq:{q}:failed") == [b"1", b"7"]


def test_due_tasks_of_go_and_ours_move_in_due_order(lab: ScriptLab) -> None:
    for number in range(3):
        go_enqueues(lab, f"go-{number}")
        lab.client.lrem("asynq:{q}:pending", 0, f"go-{number}")
        lab.client.zadd("asynq:{q}:retry", {f"go-{number}": 1_700_000_001 + 2 * number})
        late = message(f"ours-{number}")
        lab.one(Enqueue(message=late, enqueue_id="e", process_in=2000 + 2000 * number))
    lab.clock.advance(10_000)
    assert lab.one(Forward(queue="q")).moved == 6
    order = [delivery.message.id for delivery in lab.take(6)]
    assert order == ["go-0", "ours-0", "go-1", "ours-1", "go-2", "ours-2"]


def test_an_active_task_has_no_pending_time_for_go(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.take()
    assert lab.client.hmget("asynq:{q}:t:a", "state", "pending_since") == [b"active", None]


@pytest.mark.parametrize(("name", "left"), [("complete", 0), ("retry", 0), ("archive", 0), ("requeue", 1)])
def test_a_recorded_cancellation_is_removed_with_its_run(lab: ScriptLab, name: str, left: int) -> None:
    lab.enqueue(message("a", retention=60))
    lab.client.hset("asynq:{q}:t:a", "cancel", "retry")
    [delivery] = lab.take()
    assert delivery.cancel == "retry"
    assert lab.one(ExtendLease(lease=delivery.lease, duration=1000)).cancel == "retry"
    lab.one(SETTLEMENTS[name](delivery))
    assert lab.client.hexists("asynq:{q}:t:a", "cancel") == left


@pytest.mark.parametrize("name", ["done", "complete", "retry", "archive", "requeue"])
def test_a_settled_run_leaves_no_key_of_this_library(lab: ScriptLab, name: str) -> None:
    lab.enqueue(message("a"), message("b"))
    delivery, _ = lab.take(2)
    assert lab.client.ttl("asynq:{q}:py:taken:token") == pytest.approx(60, abs=2)
    lab.one(SETTLEMENTS[name](delivery))
    assert lab.client.keys("asynq:{q}:py:*") == []


def test_forwarding_lists_the_group_of_a_task_again(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"), process_in=1000)
    lab.client.delete("asynq:{q}:groups")
    lab.clock.advance(1000)
    assert lab.one(Forward(queue="q")).moved == 1
    assert lab.client.zrange("asynq:{q}:g:g", 0, -1) == [b"a"]
    assert set(lab.client.smembers("asynq:{q}:groups")) == {b"g"}
