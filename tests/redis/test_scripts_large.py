"""Scripts that receive only the changed part of a large message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.protocol.ops import (
    DEQUEUE_SOFT_LIMIT_BYTES,
    Archive,
    Complete,
    GetTask,
    ListLostLeases,
    Recover,
    Retry,
    TakeGroup,
)
from asynq.task_state import TaskState
from asynq_redis.operations.execution import CallContext
from asynq_redis.wire.sizes import LARGE_BYTES
from asynq_redis.wire.task_message import encode
from tests.redis.script_lab import Batch, ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery, TaskMessage

TASK = "asynq:{q}:t:a"
PAYLOAD = bytes(range(256)) * (LARGE_BYTES // 256 + 1)

ENDS: dict[str, tuple[Callable[[Delivery], Any], TaskState]] = {
    "complete": (lambda d: Complete(delivery=d), TaskState.COMPLETED),
    "retry": (lambda d: Retry(delivery=d, delay=1000, error="e"), TaskState.RETRY),
    "archive": (lambda d: Archive(delivery=d, error="e"), TaskState.ARCHIVED),
}
every_end = pytest.mark.parametrize(("end", "state"), ENDS.values(), ids=ENDS)


def half_of_a_reply(name: str, **fields: Any) -> TaskMessage:
    """A task of which two messages have exactly the size of the longest reply."""
    more = (
        len(encode(message(name, payload=bytes(DEQUEUE_SOFT_LIMIT_BYTES), **fields)))
        - DEQUEUE_SOFT_LIMIT_BYTES
    )
    return message(name, payload=bytes(DEQUEUE_SOFT_LIMIT_BYTES - more), **fields)


@every_end
def test_a_settlement_keeps_the_rest_of_a_large_message(lab: ScriptLab, end: Any, state: TaskState) -> None:
    large = message("a", payload=PAYLOAD, headers={"k": "v"}, retention=60, max_retry=3)
    lab.enqueue(large)
    lab.one(end(lab.take()[0]))
    stored = lab.one(GetTask(queue="q", task_id="a"))
    assert stored.state is state
    kept = replace(stored.message, retried=0, error="", last_failed_at=0, completed_at=0)
    assert kept == large
    assert stored.message.error == ("e" if state is not TaskState.COMPLETED else "")


def test_an_error_of_a_large_message_replaces_the_previous_one(lab: ScriptLab) -> None:
    lab.enqueue(message("a", payload=PAYLOAD))
    for error in ("first", "second"):
        delivery = lab.take(token=error)[0]
        lab.client.zadd("asynq:{q}:lease", {"a": 1.5})
        [lost] = lab.one(ListLostLeases(queue="q")).leases
        assert lab.one(Recover(lost=lost, to="pending", error=error))
        assert delivery.message.payload == PAYLOAD
    found = lab.take(token="third")[0].message
    assert (found.error, found.retried, found.payload) == ("second", 2, PAYLOAD)


def test_a_dequeue_is_limited_by_the_size_of_its_tasks(lab: ScriptLab) -> None:
    for name in "abcde":
        lab.enqueue(half_of_a_reply(name))
    # A copy takes no more tasks than the first request.
    for token, expected in (("first", "ab"), ("first", "ab"), ("second", "cd"), ("third", "e"), ("last", "")):
        taken = lab.take(5, token=token)
        assert [delivery.message.id for delivery in taken] == list(expected)


def test_a_list_of_lost_leases_is_limited_by_the_size_of_its_tasks(lab: ScriptLab) -> None:
    names = ["a", "b", "c", "d", "e"]
    for name in names:
        lab.enqueue(half_of_a_reply(name))
        lab.take(token=name)
        lab.client.zadd("asynq:{q}:lease", {name: 1.5 + names.index(name)})
    pages: list[list[str]] = []
    while leases := lab.one(ListLostLeases(queue="q")).leases:
        pages.append([lease.message.id for lease in leases])
        for lease in leases:
            assert lab.one(Recover(lost=lease, to="archived", error="lost"))
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_a_set_of_large_tasks_is_read_in_pages(lab: ScriptLab) -> None:
    for name in "abcde":
        lab.enqueue(half_of_a_reply(name, group="g"))
        lab.clock.advance(1000)
    asked: list[int] = []
    batch = Batch([TakeGroup(queue="q", group="g", set_id="s", grace=1)], CallContext(clock=lab.clock))
    while batch.requests:
        asked.append(len(batch.requests))
        batch.feed(lab.replies(batch))
    [taken] = batch.answers
    assert [task.id for task in taken.messages] == list("abcde")
    assert asked == [1, 1, 1, 1]


@every_end
def test_a_message_lost_between_calls_does_not_interrupt_a_script(
    lab: ScriptLab, end: Any, state: TaskState
) -> None:
    lab.enqueue(message("a", payload=PAYLOAD, retention=60))
    delivery = lab.take()[0]
    lab.client.hdel(TASK, "msg")
    lab.one(end(delivery))
    assert lab.client.hget(TASK, "state") == state.value.encode()
    assert lab.client.llen("asynq:{q}:active") == 0
