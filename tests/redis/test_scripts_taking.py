"""Dequeue from inconsistent queues."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING

import pytest

from asynq.protocol.ops import Dequeue, Done, Enqueued
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from asynq_redis.transport.requests import ScriptCall

PENDING = "asynq:{q}:pending"


def ids_taken(lab: ScriptLab) -> list[str]:
    """Ids of the tasks that one call takes."""
    return [delivery.message.id for delivery in lab.take(2)]


def test_an_id_whose_key_contains_no_task_is_skipped_and_the_key_kept(lab: ScriptLab) -> None:
    lab.client.set("asynq:{q}:t:strange", "somebody's")
    lab.client.lpush(PENDING, "strange")
    lab.enqueue(message("a"))
    assert ids_taken(lab) == ["a"]
    assert lab.client.get("asynq:{q}:t:strange") == b"somebody's"
    assert not lab.client.exists(PENDING)


def test_a_lease_key_broken_after_a_dequeue_does_not_fail_the_copy(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b", "sound"))
    call = Dequeue(orders=(("q", "sound"),) * 2, token="t", lease=1000)
    assert len(lab.one(call)) == 2
    lab.client.set("asynq:{q}:lease", "garbage")
    assert [delivery.message.id for delivery in lab.one(call)] == ["b"]


def test_a_copy_returns_what_is_unusual_about_the_tasks_already_taken(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    lab.client.hset("asynq:{q}:t:a", mapping={"lease_losses": 2, "cancel": "retry"})
    call = Dequeue(orders=(("q",),) * 2, token="t", lease=1000)
    for deliveries in (lab.one(call), lab.one(call)):
        found = {delivery.message.id: delivery for delivery in deliveries}
        assert (found["a"].lease_losses, found["a"].cancel) == (2, "retry")
        assert (found["b"].lease_losses, found["b"].cancel) == (0, "")


def test_a_reply_contains_tables_for_what_is_unusual_only(lab: ScriptLab) -> None:
    """Each of them costs the server as much as several commands."""

    def parts_of_reply(call: ScriptCall) -> list[type]:
        reply = lab.client.eval(call.script.text(flags=False), len(call.keys), *call.keys, *call.args)
        return [type(part) for part in reply]

    lab.enqueue(message("a"))
    lab.take()
    assert parts_of_reply(lab.calls[-1]) == [list, list, NoneType, list, NoneType, int, int, NoneType, int]
    lab.enqueue(message("b"))
    [delivery] = lab.take()
    assert delivery.lease_losses == 0
    call = lab.calls[-1]
    lab.one(Done(delivery=delivery))
    assert parts_of_reply(call) == [list, list, NoneType, NoneType, NoneType, int, int, NoneType, int]


def test_a_call_reads_a_bounded_number_of_ids(lab: ScriptLab) -> None:
    lab.client.rpush(PENDING, *(f"gone-{number}" for number in range(1000)))
    assert lab.take() == []
    assert lab.client.llen(PENDING) == 1000 - 100 * len(lab.calls)


def test_an_empty_queue_is_read_once(lab: ScriptLab) -> None:
    assert lab.take() == []
    assert len(lab.calls) == 1


@pytest.mark.parametrize("half", ["state", "lease"])
def test_a_pending_task_with_fields_of_a_run_is_delivered(lab: ScriptLab, half: str) -> None:
    lab.enqueue(message("a"))
    if half == "state":
        lab.client.hset("asynq:{q}:t:a", "state", "active")
    else:
        lab.client.zadd("asynq:{q}:lease", {"a": 1_700_000_030})
    assert ids_taken(lab) == ["a"]


def test_a_repeated_enqueue_of_a_delivered_task_returns_the_original_answer(lab: ScriptLab) -> None:
    assert lab.enqueue(message("a")) == [Enqueued(state=TaskState.PENDING, due_at=lab.clock.now())]
    lab.take()
    assert lab.enqueue(message("a")) == [Enqueued(state=TaskState.PENDING, due_at=lab.clock.now())]


def test_a_dequeue_from_many_queues_sends_only_queues_with_tasks(lab: ScriptLab) -> None:
    queues = tuple(f"q{number}" for number in range(2000))
    lab.enqueue(message("a", "q7"), message("b", "q1999"), message("c", "q1999"))
    lab.calls.clear()
    call = Dequeue(orders=(queues, queues[::-1]), token="t", lease=30_000)
    taken = lab.one(call)
    assert sorted(delivery.message.id for delivery in taken) == ["a", "b"]
    assert [len(call.keys) for call in lab.calls] == [10]
    assert {delivery.message.id for delivery in lab.one(call)} == {"a", "b"}
    [third] = lab.one(Dequeue(orders=(queues,) * 3, token="other", lease=30_000))
    assert third.message.id == "c"
    lab.calls.clear()
    assert lab.one(Dequeue(orders=(queues,), token="none", lease=30_000)) == ()
    assert lab.calls == []


def test_a_reply_tells_since_when_tasks_were_pending_only_if_it_is_asked(lab: ScriptLab) -> None:
    ids = ("asked", "damaged", "missing", "plain")
    lab.enqueue(*map(message, ids))
    nanoseconds = lab.client.hget("asynq:{q}:t:asked", "pending_since")
    assert isinstance(nanoseconds, bytes)
    since = int(nanoseconds) // 1_000_000
    lab.client.hset("asynq:{q}:t:damaged", "pending_since", "soon")
    lab.client.hdel("asynq:{q}:t:missing", "pending_since")
    call = Dequeue(orders=(("q",),) * 3, token="t", lease=1000, since=True)
    told = {each.message.id: each.pending_since for each in lab.one(call)}
    assert told == {"asked": since, "damaged": 0, "missing": 0}
    assert {each.pending_since for each in lab.one(call)} == {0}  # a copy: it is not known any more
    (plain,) = lab.take(1)
    assert (plain.message.id, plain.pending_since) == ("plain", 0)


def test_a_second_round_keeps_since_when_the_tasks_of_the_first_were_pending(lab: ScriptLab) -> None:
    lab.enqueue(*map(message, ("a", "gone", "damaged", "b")))
    lab.client.delete("asynq:{q}:t:gone")
    lab.client.hset("asynq:{q}:t:damaged", "msg", "?")
    began = lab.clock.now()
    lab.clock.advance(1000)
    taken = lab.one(Dequeue(orders=(("q",),) * 4, token="t", lease=1000, since=True))
    assert {each.message.id: each.pending_since for each in taken} == {"a": began, "b": began}
    assert len(lab.calls) > 1
