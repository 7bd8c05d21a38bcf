"""Uniqueness locks as they are stored: their format for Go peers, and their expiry."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from asynq.errors import DuplicateTaskError, TaskStateError
from asynq.protocol.ops import (
    Archive,
    Complete,
    DeleteTask,
    Done,
    Enqueue,
    ExtendLease,
    Forward,
    GetTask,
    ListLostLeases,
    PurgeCompleted,
    Recover,
    Requeue,
    Retry,
    TrimArchive,
    Unique,
    UpdateTask,
)
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message, unique

LOCK = unique("any").unique_key
TASK = "asynq:{q}:t:a"


def lasts(lab: ScriptLab, milliseconds: int) -> bool:
    """Whether the lock expires then, within the duration of a test."""
    return milliseconds - 3000 < lab.client.pttl(LOCK) <= milliseconds


@pytest.mark.parametrize(("until", "value"), [("done", b"a"), ("start", b"a"), ("expiry", b"expiry:a")])
def test_go_can_release_a_lock_unless_only_time_may(lab: ScriptLab, until: Any, value: bytes) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=60_000, until=until))
    assert lab.client.get(LOCK) == value
    assert lab.client.hget("asynq:{q}:t:a", "unique_key") == LOCK.encode()
    [refusal] = lab.enqueue(unique("b"), unique=Unique(ttl=60_000))
    assert isinstance(refusal, DuplicateTaskError)
    assert refusal.task_id == "a"


def test_a_lock_lasts_whole_seconds_from_the_due_time(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=61_900), process_in=600_000)
    assert lasts(lab, 661_000)


def test_the_lock_of_a_task_with_a_past_due_time_counts_from_the_present(lab: ScriptLab) -> None:
    late = Enqueue(
        message=unique("a"),
        enqueue_id="a",
        unique=Unique(ttl=60_000),
        process_at=lab.clock.now() - 50_000,
    )
    assert lab.one(late).state is TaskState.PENDING
    assert lasts(lab, 60_000)


def test_a_lock_of_a_missing_task_is_taken_over(lab: ScriptLab) -> None:
    lab.client.set(LOCK, "a")  # as Go leaves it when another task has the id
    [answer] = lab.enqueue(unique("a"), unique=Unique(ttl=60_000))
    assert answer.state is TaskState.PENDING
    assert lasts(lab, 60_000)


def test_no_operation_releases_a_lock_that_another_task_holds(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=60_000))
    [delivery] = lab.take()
    lab.client.set(LOCK, "b")
    lab.one(Done(delivery=delivery))
    assert lab.client.get(LOCK) == b"b"


def test_a_replaced_task_passes_its_lock_on_atomically(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=60_000))
    lab.one(Archive(delivery=lab.take()[0], error="no"))
    again = Enqueue(
        message=unique("a"), enqueue_id="2", unique=Unique(ttl=90_000), on_conflict="replace_finished"
    )
    assert lab.one(again).state is TaskState.PENDING
    assert lab.client.get(LOCK) == b"a"
    assert lasts(lab, 90_000)
    assert lab.client.zcard("asynq:{q}:archived") == 0


@pytest.mark.parametrize("until", ["done", "expiry"])
@pytest.mark.parametrize("lapsed", [False, True])
def test_a_kept_lock_outlasts_the_next_step_of_its_task(lab: ScriptLab, until: Any, lapsed: bool) -> None:
    def let_go() -> None:
        if lapsed:
            lab.client.delete(LOCK)
        else:
            lab.client.pexpire(LOCK, 10)

    lab.enqueue(unique("a"), unique=Unique(ttl=5000, until=until, keep=True))
    let_go()
    [delivery] = lab.take(1, lease=30_000)
    assert lasts(lab, 35_000)
    let_go()
    lab.one(ExtendLease(lease=delivery.lease, duration=40_000))
    assert lasts(lab, 45_000)
    let_go()
    lab.one(Requeue(delivery=delivery))
    assert lasts(lab, 5000)
    [delivery] = lab.take(1, token="second")
    let_go()
    lab.one(Retry(delivery=delivery, delay=50_000, error="no"))
    assert lasts(lab, 55_000)
    let_go()
    lab.clock.advance(60_000)
    lab.one(Forward(queue="q"))
    assert lasts(lab, 5000)


@pytest.mark.parametrize(("to", "left"), [("pending", 5000), ("retry", 55_000), ("archived", 35_000)])
def test_a_kept_lock_outlasts_the_recovery_of_its_task_but_not_its_end(
    lab: ScriptLab, to: Literal["pending", "retry", "archived"], left: int
) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000, keep=True))
    lab.take(1, lease=30_000)
    lab.clock.advance(40_000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    if to != "archived":
        lab.client.delete(LOCK)
    assert lab.one(Recover(lost=lost, to=to, error="lost", delay=50_000 if to == "retry" else 0)) is True
    assert lasts(lab, left)


def test_no_lock_is_extended_for_a_recovered_task_without_a_lock(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000))
    lab.take(1, lease=30_000)
    lab.clock.advance(40_000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    lab.client.delete(LOCK)
    assert lab.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert not lab.client.exists(LOCK)


def test_a_kept_lock_taken_by_another_task_is_not_changed(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000, keep=True))
    lab.client.set(LOCK, "b", px=4000)
    lab.take(1, lease=30_000)
    assert lab.client.get(LOCK) == b"b"
    assert lasts(lab, 4000)


def test_a_lock_until_start_is_not_taken_again_after_the_start(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000, until="start", keep=True))
    [delivery] = lab.take()
    assert not lab.client.exists(LOCK)
    lab.one(ExtendLease(lease=delivery.lease, duration=40_000))
    lab.one(Retry(delivery=delivery, delay=50_000, error="no"))
    assert not lab.client.exists(LOCK)


def test_trimming_and_purging_release_owned_locks(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=600_000))
    lab.one(Archive(delivery=lab.take()[0], error="no"))
    assert lab.client.get(LOCK) == b"a"
    assert lab.one(TrimArchive(queue="q", max_size=0)) == 1
    assert not lab.client.exists(LOCK)

    lab.enqueue(unique("b"), unique=Unique(ttl=600_000))
    lab.one(Complete(delivery=lab.take(1, token="b")[0]))
    lab.client.set(LOCK, "b")  # as an older Go peer leaves it
    assert lab.one(PurgeCompleted(queue="q")) == 1
    assert not lab.client.exists(LOCK)


def test_a_full_archive_releases_the_lock_of_a_trimmed_task(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=600_000))
    assert lab.one(Archive(delivery=lab.take()[0], error="no", max_size=0)) is None
    assert lab.client.keys("asynq:{q}:t:*") == []
    assert not lab.client.exists(LOCK)


def test_a_payload_update_applies_to_the_task_present_at_the_write(lab: ScriptLab) -> None:
    unique_for_an_hour = Unique(ttl=3_600_000)
    lab.enqueue(unique("a", headers={"made": "first"}), unique=unique_for_an_hour)

    def replace() -> None:
        lab.many(DeleteTask(queue="q", task_id="a"))
        lab.enqueue(unique("a", headers={"made": "second"}), unique=unique_for_an_hour)

    update = UpdateTask(queue="q", task_id="a", payload=b"new")
    assert lab.interrupted(update, replace) is None
    found = lab.one(GetTask(queue="q", task_id="a")).message
    assert (found.payload, found.headers) == (b"new", {"made": "second"})
    assert lab.client.get(found.unique_key) == b"a"
    assert not lab.client.exists(LOCK)


def test_a_kept_lock_lasts_beyond_the_new_time_of_a_retry(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=5000, keep=True))
    lab.one(Retry(delivery=lab.take()[0], delay=1000, error="no"))
    lab.one(UpdateTask(queue="q", task_id="a", process_in=100_000))
    assert lasts(lab, 105_000)


def test_a_task_whose_due_time_is_lost_is_not_rescheduled(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), process_in=1000)
    lab.client.delete("asynq:{q}:scheduled")
    assert isinstance(lab.one(UpdateTask(queue="q", task_id="a", process_in=9000)), TaskStateError)
    assert not lab.client.exists("asynq:{q}:scheduled")


@pytest.mark.parametrize("delay", [None, 9000])
def test_a_replaced_duplicate_leaves_nothing_behind(lab: ScriptLab, delay: int | None) -> None:
    latest = Unique(ttl=60_000, until="start", on_duplicate="replace")
    lab.enqueue(message("b"), message("c"), process_in=delay)
    lab.enqueue(unique("a"), unique=latest, process_in=delay)
    [answer] = lab.enqueue(unique("new"), unique=latest, process_in=5000)
    assert answer.state is TaskState.SCHEDULED
    assert lab.client.get(LOCK) == b"new"
    assert lasts(lab, 65_000)
    assert not lab.client.exists(TASK)
    assert b"a" not in lab.client.lrange("asynq:{q}:pending", 0, -1)
    assert lab.client.zscore("asynq:{q}:scheduled", "a") is None


def test_a_holder_that_is_gone_loses_the_lock(lab: ScriptLab) -> None:
    lab.client.set(LOCK, "gone")
    replacing = Unique(ttl=60_000, on_duplicate="replace")
    assert lab.enqueue(unique("a"), unique=replacing)[0].state is TaskState.PENDING
    assert lab.client.get(LOCK) == b"a"
