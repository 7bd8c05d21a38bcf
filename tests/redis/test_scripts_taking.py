"""Dequeue from inconsistent queues."""

from __future__ import annotations

import pytest

from asynq.protocol.ops import Dequeue, Enqueued
from asynq.task_state import TaskState
from tests.redis.driver import Driver, message

PENDING = "asynq:{q}:pending"


def ids_taken(driver: Driver) -> list[str]:
    """Ids of the tasks that one call takes."""
    return [delivery.message.id for delivery in driver.take(2)]


def test_an_id_whose_key_contains_no_task_is_skipped_and_the_key_kept(driver: Driver) -> None:
    driver.client.set("asynq:{q}:t:strange", "somebody's")
    driver.client.lpush(PENDING, "strange")
    driver.enqueue(message("a"))
    assert ids_taken(driver) == ["a"]
    assert driver.client.get("asynq:{q}:t:strange") == b"somebody's"
    assert not driver.client.exists(PENDING)


def test_a_lease_key_broken_after_a_dequeue_does_not_fail_the_copy(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b", "sound"))
    call = Dequeue(orders=(("q", "sound"),) * 2, token="t", lease=1000)
    assert len(driver.one(call)) == 2
    driver.client.set("asynq:{q}:lease", "garbage")
    assert [delivery.message.id for delivery in driver.one(call)] == ["b"]


def test_a_call_reads_a_bounded_number_of_ids(driver: Driver) -> None:
    driver.client.rpush(PENDING, *(f"gone-{number}" for number in range(1000)))
    assert driver.take() == []
    assert driver.client.llen(PENDING) == 1000 - 100 * len(driver.calls)


def test_an_empty_queue_is_read_once(driver: Driver) -> None:
    assert driver.take() == []
    assert len(driver.calls) == 1


@pytest.mark.parametrize("half", ["state", "lease"])
def test_a_pending_task_with_fields_of_a_run_is_delivered(driver: Driver, half: str) -> None:
    driver.enqueue(message("a"))
    if half == "state":
        driver.client.hset("asynq:{q}:t:a", "state", "active")
    else:
        driver.client.zadd("asynq:{q}:lease", {"a": 1_700_000_030})
    assert ids_taken(driver) == ["a"]


def test_a_repeated_enqueue_of_a_delivered_task_returns_the_original_answer(driver: Driver) -> None:
    assert driver.enqueue(message("a")) == [Enqueued(state=TaskState.PENDING, due_at=driver.clock.now())]
    driver.take()
    assert driver.enqueue(message("a")) == [Enqueued(state=TaskState.PENDING, due_at=driver.clock.now())]


def test_a_dequeue_from_many_queues_sends_only_queues_with_tasks(driver: Driver) -> None:
    queues = tuple(f"q{number}" for number in range(2000))
    driver.enqueue(message("a", "q7"), message("b", "q1999"), message("c", "q1999"))
    driver.calls.clear()
    call = Dequeue(orders=(queues, queues[::-1]), token="t", lease=30_000)
    taken = driver.one(call)
    assert sorted(delivery.message.id for delivery in taken) == ["a", "b"]
    assert [len(call.keys) for call in driver.calls] == [10]
    assert {delivery.message.id for delivery in driver.one(call)} == {"a", "b"}
    [third] = driver.one(Dequeue(orders=(queues,) * 3, token="other", lease=30_000))
    assert third.message.id == "c"
    driver.calls.clear()
    assert driver.one(Dequeue(orders=(queues,), token="none", lease=30_000)) == ()
    assert driver.calls == []
