"""Uniqueness locks as they are stored: their format for Go peers, and their expiry."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from asynq.errors import DuplicateTaskError
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
    UpdatePayload,
)
from asynq.task_state import TaskState
from tests.redis.driver import Driver, unique

LOCK = unique("any").unique_key


def lasts(driver: Driver, milliseconds: int) -> bool:
    """Whether the lock expires then, within the duration of a test."""
    return milliseconds - 3000 < driver.client.pttl(LOCK) <= milliseconds


@pytest.mark.parametrize(("until", "value"), [("done", b"a"), ("start", b"a"), ("expiry", b"expiry:a")])
def test_go_can_release_a_lock_unless_only_time_may(driver: Driver, until: Any, value: bytes) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=60_000, until=until))
    assert driver.client.get(LOCK) == value
    assert driver.client.hget("asynq:{q}:t:a", "unique_key") == LOCK.encode()
    [refusal] = driver.enqueue(unique("b"), unique=Unique(ttl=60_000))
    assert isinstance(refusal, DuplicateTaskError)
    assert refusal.task_id == "a"


def test_a_lock_lasts_whole_seconds_from_the_due_time(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=61_900), process_in=600_000)
    assert lasts(driver, 661_000)


def test_the_lock_of_a_task_with_a_past_due_time_counts_from_the_present(driver: Driver) -> None:
    late = Enqueue(
        message=unique("a"),
        enqueue_id="a",
        unique=Unique(ttl=60_000),
        process_at=driver.clock.now() - 50_000,
    )
    assert driver.one(late).state is TaskState.PENDING
    assert lasts(driver, 60_000)


def test_a_lock_of_a_missing_task_is_taken_over(driver: Driver) -> None:
    driver.client.set(LOCK, "a")  # as Go leaves it when another task has the id
    [answer] = driver.enqueue(unique("a"), unique=Unique(ttl=60_000))
    assert answer.state is TaskState.PENDING
    assert lasts(driver, 60_000)


def test_no_operation_releases_a_lock_that_another_task_holds(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=60_000))
    [delivery] = driver.take()
    driver.client.set(LOCK, "b")
    driver.one(Done(delivery=delivery))
    assert driver.client.get(LOCK) == b"b"


def test_a_replaced_task_passes_its_lock_on_atomically(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=60_000))
    driver.one(Archive(delivery=driver.take()[0], error="no"))
    again = Enqueue(
        message=unique("a"), enqueue_id="2", unique=Unique(ttl=90_000), on_conflict="replace_finished"
    )
    assert driver.one(again).state is TaskState.PENDING
    assert driver.client.get(LOCK) == b"a"
    assert lasts(driver, 90_000)
    assert driver.client.zcard("asynq:{q}:archived") == 0


@pytest.mark.parametrize("until", ["done", "expiry"])
@pytest.mark.parametrize("lapsed", [False, True])
def test_a_kept_lock_outlasts_the_next_step_of_its_task(driver: Driver, until: Any, lapsed: bool) -> None:
    def let_go() -> None:
        if lapsed:
            driver.client.delete(LOCK)
        else:
            driver.client.pexpire(LOCK, 10)

    driver.enqueue(unique("a"), unique=Unique(ttl=5000, until=until, keep=True))
    let_go()
    [delivery] = driver.take(1, lease=30_000)
    assert lasts(driver, 35_000)
    let_go()
    driver.one(ExtendLease(lease=delivery.lease, duration=40_000))
    assert lasts(driver, 45_000)
    let_go()
    driver.one(Requeue(delivery=delivery))
    assert lasts(driver, 5000)
    [delivery] = driver.take(1, token="second")
    let_go()
    driver.one(Retry(delivery=delivery, delay=50_000, error="no"))
    assert lasts(driver, 55_000)
    let_go()
    driver.clock.advance(60_000)
    driver.one(Forward(queue="q"))
    assert lasts(driver, 5000)


@pytest.mark.parametrize(("to", "left"), [("pending", 5000), ("retry", 55_000), ("archived", 35_000)])
def test_a_kept_lock_outlasts_the_recovery_of_its_task_but_not_its_end(
    driver: Driver, to: Literal["pending", "retry", "archived"], left: int
) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000, keep=True))
    driver.take(1, lease=30_000)
    driver.clock.advance(40_000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    if to != "archived":
        driver.client.delete(LOCK)
    assert driver.one(Recover(lost=lost, to=to, error="lost", delay=50_000 if to == "retry" else 0)) is True
    assert lasts(driver, left)


def test_no_lock_is_extended_for_a_recovered_task_without_a_lock(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000))
    driver.take(1, lease=30_000)
    driver.clock.advance(40_000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    driver.client.delete(LOCK)
    assert driver.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert not driver.client.exists(LOCK)


def test_a_kept_lock_taken_by_another_task_is_not_changed(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000, keep=True))
    driver.client.set(LOCK, "b", px=4000)
    driver.take(1, lease=30_000)
    assert driver.client.get(LOCK) == b"b"
    assert lasts(driver, 4000)


def test_a_lock_until_start_is_not_taken_again_after_the_start(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=5000, until="start", keep=True))
    [delivery] = driver.take()
    assert not driver.client.exists(LOCK)
    driver.one(ExtendLease(lease=delivery.lease, duration=40_000))
    driver.one(Retry(delivery=delivery, delay=50_000, error="no"))
    assert not driver.client.exists(LOCK)


def test_trimming_and_purging_release_owned_locks(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=600_000))
    driver.one(Archive(delivery=driver.take()[0], error="no"))
    assert driver.client.get(LOCK) == b"a"
    assert driver.one(TrimArchive(queue="q", max_size=0)) == 1
    assert not driver.client.exists(LOCK)

    driver.enqueue(unique("b"), unique=Unique(ttl=600_000))
    driver.one(Complete(delivery=driver.take(1, token="b")[0]))
    driver.client.set(LOCK, "b")  # as an older Go peer leaves it
    assert driver.one(PurgeCompleted(queue="q")) == 1
    assert not driver.client.exists(LOCK)


def test_a_full_archive_releases_the_lock_of_a_trimmed_task(driver: Driver) -> None:
    driver.enqueue(unique("a"), unique=Unique(ttl=600_000))
    assert driver.one(Archive(delivery=driver.take()[0], error="no", max_size=0)) is None
    assert driver.client.keys("asynq:{q}:t:*") == []
    assert not driver.client.exists(LOCK)


def test_a_payload_update_applies_to_the_task_present_at_the_write(driver: Driver) -> None:
    unique_for_an_hour = Unique(ttl=3_600_000)
    driver.enqueue(unique("a", headers={"made": "first"}), unique=unique_for_an_hour)

    def replace() -> None:
        driver.many(DeleteTask(queue="q", task_id="a"))
        driver.enqueue(unique("a", headers={"made": "second"}), unique=unique_for_an_hour)

    update = UpdatePayload(queue="q", task_id="a", payload=b"new")
    assert driver.interrupted(update, replace) is None
    found = driver.one(GetTask(queue="q", task_id="a")).message
    assert (found.payload, found.headers) == (b"new", {"made": "second"})
    assert driver.client.get(found.unique_key) == b"a"
    assert not driver.client.exists(LOCK)
