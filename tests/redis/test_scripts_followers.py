"""Parents in Redis: what damage and Go peers leave, and which locks are released."""

from __future__ import annotations

from typing import Any

import pytest

from asynq.protocol.followers import FOLLOWERS_HEADER, PARENT_RETENTION, members_header
from asynq.protocol.ops import Arrive, Complete, Enqueue, FinishParent, TakeParents, Unique
from asynq.protocol.sequences import MEMBERS_HEADER
from tests.redis.script_lab import ScriptLab, message

PARENT = {FOLLOWERS_HEADER: "{}"}
COMPLETED = "asynq:{q}:completed"


def complete(lab: ScriptLab, *ids: str, payload: bytes = b"", **options: Any) -> None:
    """Enqueue and complete parents."""
    fields = {"unique_key": options.pop("unique_key", "")}
    messages = [
        message(name, retention=PARENT_RETENTION, headers=PARENT, payload=payload, **fields) for name in ids
    ]
    lab.enqueue(*messages, **options)
    taken = lab.take(len(ids), token="-".join(ids))
    assert set(lab.all([Complete(delivery=delivery, result=b"r") for delivery in taken])) == {None}


def take(lab: ScriptLab, **options: Any) -> list[str]:
    """Ids of the parents that nobody holds."""
    return [parent.message.id for parent in lab.one(TakeParents(queue="q", hold=1000, **options))]


def finish(lab: ScriptLab, name: str = "a") -> Any:
    """Let the only parent go."""
    score = lab.client.zscore(COMPLETED, name)
    assert score is not None
    return lab.one(FinishParent(queue="q", task_id=name, held_until=int(score) * 1000, retention=0))


def arrival() -> Arrive:
    """Of the only member of a task."""
    return Arrive(queue="q", task_id="a", member=0, member_queue="q", member_id="m", members=1, result="-")


def test_an_id_without_a_task_is_dropped(lab: ScriptLab) -> None:
    complete(lab, "a", "b")
    lab.client.delete("asynq:{q}:t:a")
    assert take(lab) == ["b"]
    assert lab.client.zrange(COMPLETED, 0, -1) == [b"b"]


def test_a_task_of_another_type_stays_and_is_not_answered(lab: ScriptLab) -> None:
    complete(lab, "a", "b")
    lab.client.delete("asynq:{q}:t:a")
    lab.client.set("asynq:{q}:t:a", "other")
    assert take(lab) == ["b"]
    assert sorted(lab.client.zrange(COMPLETED, 0, -1)) == [b"a", b"b"]
    assert finish(lab) is False


def test_a_message_that_cannot_be_decoded_is_not_answered(lab: ScriptLab) -> None:
    complete(lab, "a", "b")
    lab.client.hset("asynq:{q}:t:a", "msg", b"\xff")
    assert take(lab) == ["b"]
    assert lab.client.hget("asynq:{q}:t:a", "msg") == b"\xff"


def test_the_score_of_a_go_peer_whose_clock_is_wrong_is_a_parents(lab: ScriptLab) -> None:
    complete(lab, "a")
    for wrong in (-86_400, 86_400):
        lab.client.zadd(COMPLETED, {"a": lab.clock.now() // 1000 + PARENT_RETENTION + wrong})
        assert take(lab) == ["a"]


@pytest.mark.parametrize(("later", "found"), [(999, []), (1000, ["a"])])
def test_a_hold_ends_at_its_second(lab: ScriptLab, later: int, found: list[str]) -> None:
    lab.clock.advance(-lab.clock.now() % 1000)
    complete(lab, "a")
    assert take(lab) == ["a"]
    lab.clock.advance(later)
    assert take(lab) == found


@pytest.mark.parametrize("fraction", [1, 500])
def test_a_hold_is_rounded_up_to_a_second(lab: ScriptLab, fraction: int) -> None:
    lab.clock.advance(-lab.clock.now() % 1000 + fraction)
    complete(lab, "a")
    assert take(lab) == ["a"]
    lab.clock.advance(1000)
    assert take(lab) == []
    lab.clock.advance(1000 - fraction)
    assert take(lab) == ["a"]


def test_no_more_than_a_reply_can_hold_is_taken_at_once(lab: ScriptLab) -> None:
    for name in "abc":
        complete(lab, name, payload=bytes(5 << 20))
    assert take(lab) == ["a", "b"]
    assert take(lab) == ["c"]
    assert take(lab, limit=3) == []


def test_results_count_for_the_size_of_a_reply(lab: ScriptLab) -> None:
    complete(lab, "a", "b", "c")
    for name in "abc":
        task = f"asynq:{{q}}:t:{name}"
        size = len(lab.client.hget(task, "msg") or b"")
        lab.client.hset(task, "result", bytes((8 << 20) - size))
    assert [take(lab) for _ in range(4)] == [["a"], ["b"], ["c"], []]


def test_a_task_that_is_listed_but_not_completed_is_not_let_go(lab: ScriptLab) -> None:
    complete(lab, "a")
    lab.client.hset("asynq:{q}:t:a", "state", "pending")
    assert finish(lab) is False
    assert lab.client.exists("asynq:{q}:t:a")


def test_the_lock_of_a_parent_is_deleted_with_it_if_the_parent_holds_it(lab: ScriptLab) -> None:
    lock = "asynq:{q}:unique:a:"
    complete(lab, "a", unique_key=lock, unique=Unique(ttl=60_000))
    lab.client.set(lock, "a")
    assert finish(lab) is True
    assert lab.client.keys("asynq:{q}:*") == lab.client.keys("asynq:{q}:processed*")


def test_nothing_is_written_if_there_are_no_parents(lab: ScriptLab) -> None:
    lab.enqueue(message("a", retention=60))
    [delivery] = lab.take(1, token="a")
    lab.one(Complete(delivery=delivery))
    before = lab.content()
    assert take(lab) == []
    assert lab.content() == before


def test_a_finished_task_gives_way_up_to_the_longest_retention(lab: ScriptLab) -> None:
    complete(lab, "a")
    again = Enqueue(message=message("a"), enqueue_id="again", on_conflict="replace_finished")
    seconds = -(-lab.clock.now() // 1000)
    lab.client.zadd(COMPLETED, {"a": seconds + PARENT_RETENTION // 2 + 1})
    assert type(lab.one(again)).__name__ == "TaskIDConflictError"
    lab.client.zadd(COMPLETED, {"a": seconds + PARENT_RETENTION // 2})
    assert lab.one(again).state == "pending"


def test_an_arrival_at_a_hash_of_another_type_finds_no_task(lab: ScriptLab) -> None:
    lab.client.set("asynq:{q}:t:a", "other")
    assert type(lab.one(arrival())).__name__ == "TaskNotFoundError"


def test_a_waiting_task_without_a_place_among_the_scheduled_ones_is_left_alone(lab: ScriptLab) -> None:
    lab.enqueue(message("a", headers={MEMBERS_HEADER: members_header([("q", "m")])}))
    lab.client.delete("asynq:{q}:scheduled")
    before = lab.content()
    assert lab.one(arrival()) == 0
    assert lab.content() == before
