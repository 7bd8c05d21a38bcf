"""The deletion of a queue, and its order."""

from __future__ import annotations

from asynq.protocol.ops import Archive, Complete, DeleteQueue, Deletion, Retry, TakeGroup
from tests.redis.script_lab import ScriptLab, message

GROUPS, SETS, PAUSED = "asynq:{q}:groups", "asynq:{q}:aggregation_sets", "asynq:{q}:paused"
EVERYTHING = DeleteQueue(queue="q", force=True, limit=1000)
NEXT = DeleteQueue(queue="q", force=True, limit=1)


def test_many_names_of_empty_groups_hide_no_task(lab: ScriptLab) -> None:
    # A call samples some names at random; three samples will not contain the only relevant one.
    lab.enqueue(*(message(name, group=name) for name in "abc"))
    lab.client.sadd(GROUPS, *(f"empty-{number}" for number in range(5000)))
    assert lab.one(EVERYTHING) == Deletion(tasks=3, done=True)
    assert lab.client.keys() == []


def test_many_names_of_empty_sets_hide_no_task(lab: ScriptLab) -> None:
    lab.enqueue(message("a", group="g"))
    lab.clock.advance(1000)
    lab.one(TakeGroup(queue="q", group="g", set_id="s", grace=0, hold=1000))
    lab.client.zadd(SETS, {f"asynq:{{q}}:g:empty:{number}": 1 for number in range(120)})
    assert lab.one(EVERYTHING) == Deletion(tasks=1, done=True)
    assert lab.client.keys() == []


def test_a_set_of_another_queue_is_unchanged(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.zadd("asynq:{other}:g:g:s", {"b": 1})
    lab.client.zadd(SETS, {"asynq:{other}:g:g:s": 1})
    assert lab.one(EVERYTHING) == Deletion(tasks=1, done=True)
    assert lab.client.keys() == [b"asynq:{other}:g:g:s"]


def test_daily_counters_are_deleted_with_their_queue(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.one(Archive(delivery=lab.take()[0], error="no"))
    days = ("2023-11-14", "2023-11-13", "2023-08-16")  # today, yesterday, ninety days ago
    lab.client.mset({f"asynq:{{q}}:{kind}:{day}": 1 for kind in ("processed", "failed") for day in days})
    assert lab.one(EVERYTHING).done
    assert lab.client.keys() == []


def test_a_queue_is_paused_during_deletion_and_the_pause_time_is_kept(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"), message("c"))
    assert not lab.one(NEXT).done
    assert lab.client.get(PAUSED) == b"1700000000"
    lab.clock.advance(5000)
    assert not lab.one(NEXT).done
    assert lab.client.get(PAUSED) == b"1700000000"


def test_a_refused_deletion_does_not_pause_the_queue(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.one(DeleteQueue(queue="q"))
    assert not lab.client.exists(PAUSED)


def test_tasks_are_deleted_state_by_state(lab: ScriptLab) -> None:
    lab.enqueue(*(message(name, retention=60) for name in ("retry", "archived", "completed")))
    retried, archived, completed = lab.take(3)
    lab.many(
        Retry(delivery=retried, delay=1000, error="no"),
        Archive(delivery=archived, error="no"),
        Complete(delivery=completed),
    )
    lab.enqueue(message("scheduled"), process_in=1000)
    lab.enqueue(message("aggregating", group="g"), message("pending"))
    left = ["scheduled", "retry", "archived", "completed", "aggregating", "pending"]
    while left:
        lab.one(NEXT)
        left.pop(0)
        assert set(lab.client.keys("asynq:{q}:t:*")) == {f"asynq:{{q}}:t:{name}".encode() for name in left}
