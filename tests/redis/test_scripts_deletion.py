"""The deletion of a queue, and its order."""

from __future__ import annotations

from asynq.protocol.ops import Archive, Complete, DeleteQueue, Deletion, Retry, TakeGroup
from tests.redis.driver import Driver, message

GROUPS, SETS, PAUSED = "asynq:{q}:groups", "asynq:{q}:aggregation_sets", "asynq:{q}:paused"
EVERYTHING = DeleteQueue(queue="q", force=True, limit=1000)
NEXT = DeleteQueue(queue="q", force=True, limit=1)


def test_many_names_of_empty_groups_hide_no_task(driver: Driver) -> None:
    # A call samples some names at random; three samples will not contain the only relevant one.
    driver.enqueue(*(message(name, group=name) for name in "abc"))
    driver.client.sadd(GROUPS, *(f"empty-{number}" for number in range(5000)))
    assert driver.one(EVERYTHING) == Deletion(tasks=3, done=True)
    assert driver.client.keys() == []


def test_many_names_of_empty_sets_hide_no_task(driver: Driver) -> None:
    driver.enqueue(message("a", group="g"))
    driver.clock.advance(1000)
    driver.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    driver.client.zadd(SETS, {f"asynq:{{q}}:g:empty:{number}": 1 for number in range(120)})
    assert driver.one(EVERYTHING) == Deletion(tasks=1, done=True)
    assert driver.client.keys() == []


def test_a_set_of_another_queue_is_unchanged(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.client.zadd("asynq:{other}:g:g:s", {"b": 1})
    driver.client.zadd(SETS, {"asynq:{other}:g:g:s": 1})
    assert driver.one(EVERYTHING) == Deletion(tasks=1, done=True)
    assert driver.client.keys() == [b"asynq:{other}:g:g:s"]


def test_daily_counters_are_deleted_with_their_queue(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.one(Archive(delivery=driver.take()[0], error="no"))
    days = ("2023-11-14", "2023-11-13", "2023-08-16")  # today, yesterday, ninety days ago
    driver.client.mset({f"asynq:{{q}}:{kind}:{day}": 1 for kind in ("processed", "failed") for day in days})
    assert driver.one(EVERYTHING).done
    assert driver.client.keys() == []


def test_a_queue_is_paused_during_deletion_and_the_pause_time_is_kept(driver: Driver) -> None:
    driver.enqueue(message("a"), message("b"), message("c"))
    assert not driver.one(NEXT).done
    assert driver.client.get(PAUSED) == b"1700000000"
    driver.clock.advance(5000)
    assert not driver.one(NEXT).done
    assert driver.client.get(PAUSED) == b"1700000000"


def test_a_refused_deletion_does_not_pause_the_queue(driver: Driver) -> None:
    driver.enqueue(message("a"))
    driver.one(DeleteQueue(queue="q"))
    assert not driver.client.exists(PAUSED)


def test_tasks_are_deleted_state_by_state(driver: Driver) -> None:
    driver.enqueue(*(message(name, retention=60) for name in ("retry", "archived", "completed")))
    retried, archived, completed = driver.take(3)
    driver.many(
        Retry(delivery=retried, delay=1000, error="no"),
        Archive(delivery=archived, error="no"),
        Complete(delivery=completed),
    )
    driver.enqueue(message("scheduled"), process_in=1000)
    driver.enqueue(message("aggregating", group="g"), message("pending"))
    left = ["scheduled", "retry", "archived", "completed", "aggregating", "pending"]
    while left:
        driver.one(NEXT)
        left.pop(0)
        assert set(driver.client.keys("asynq:{q}:t:*")) == {f"asynq:{{q}}:t:{name}".encode() for name in left}
