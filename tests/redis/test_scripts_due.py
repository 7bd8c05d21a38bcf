"""Forwarding of tasks that are due together, are listed twice, or cannot move."""

from __future__ import annotations

import pytest
import redis

from asynq.protocol.ops import Forward, Retry, Unique
from tests.redis.script_lab import NO_TASK, ScriptLab, message, unique

FORWARD = Forward(queue="q")
LOCK = unique("any").unique_key


def test_tasks_due_in_one_second_are_ordered_by_state_and_id(lab: ScriptLab) -> None:
    names = [f"{number:02}" for number in range(40)]
    lab.enqueue(*(message(f"retried-{name}") for name in names))
    lab.all([Retry(delivery=delivery, delay=5000, error="no") for delivery in lab.take(40)])
    lab.enqueue(*(message(f"scheduled-{name}") for name in names), process_in=5000)
    lab.clock.advance(5000)
    assert lab.one(Forward(queue="q", limit=80)).moved == 80
    order = [delivery.message.id for token in "ab" for delivery in lab.take(40, token=token)]
    assert order == [f"scheduled-{name}" for name in names] + [f"retried-{name}" for name in names]


def test_a_task_listed_as_scheduled_and_retried_moves_once(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), process_in=1000)
    lab.client.zadd("asynq:{q}:retry", {"a": 1})
    lab.clock.advance(1000)
    assert lab.one(FORWARD).moved == 1
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [b"a"]
    assert not lab.client.exists("asynq:{q}:scheduled", "asynq:{q}:retry")


def test_no_task_is_forwarded_if_the_key_of_a_group_has_another_type(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b", group="g"), process_in=1000)
    lab.client.set("asynq:{q}:g:g", "garbage")
    lab.clock.advance(1000)
    before = lab.content()
    answer = lab.one(FORWARD)
    assert isinstance(answer, redis.ResponseError)
    assert "asynq:{q}:g:g holds a string" in str(answer)
    assert lab.content() == before


@pytest.mark.parametrize("kind", NO_TASK)
def test_a_due_id_without_a_task_is_removed_with_its_remains(lab: ScriptLab, kind: str) -> None:
    lab.client.zadd("asynq:{q}:scheduled", {"a": 1})
    NO_TASK[kind](lab.client, "asynq:{q}:t:a")
    assert lab.one(FORWARD).moved == 0
    assert lab.client.keys() == []


@pytest.mark.parametrize(("started", "held"), [(False, True), (True, False)])
def test_forwarding_extends_a_lock_until_start_only_before_the_start(
    lab: ScriptLab, started: bool, held: bool
) -> None:
    lab.enqueue(
        unique("a"),
        unique=Unique(ttl=5000, until="start", keep=True),
        process_in=None if started else 1000,
    )
    if started:
        lab.one(Retry(delivery=lab.take()[0], delay=1000, error="no"))
    lab.client.delete(LOCK)
    lab.clock.advance(1000)
    assert lab.one(FORWARD).moved == 1
    assert bool(lab.client.exists(LOCK)) is held
