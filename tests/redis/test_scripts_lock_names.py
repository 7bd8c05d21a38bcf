"""The name of a task's lock: a field of its hash or, for a task that Go put into a group, in its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import DeleteQueue, DeleteTask, RunTask, Unique
from asynq_redis.wire import task_message
from tests.redis.go_tasks import LOCK, P, go_leaves, go_message, locked
from tests.redis.script_lab import ScriptLab, message

if TYPE_CHECKING:
    from collections.abc import Callable


def delete(lab: ScriptLab, task_id: str = "go") -> None:
    """Delete a task by hand."""
    assert lab.one(DeleteTask(queue="q", task_id=task_id)) is None


WHOLE = task_message.encode(go_message())
UNKNOWN = b"\xa0\x06\x01" + b"\xa1\x06" + bytes(8) + b"\xa5\x06" + bytes(4) + b"\xa2\x06\x02hm"
"""Fields numbered 100 of every type in use, as a later version of Go may add."""
OTHER_LOCK = f"{P}unique:sms:"


@pytest.mark.parametrize(
    "data",
    [
        WHOLE,
        UNKNOWN + WHOLE + UNKNOWN,
        *(
            task_message.encode(go_message(payload=filler * size))
            for filler in (b"\xff", b"\x12")
            for size in (127, 128, 16_384, 3_000_000)
        ),
        task_message.encode(go_message(payload=task_message.encode(go_message(unique_key=OTHER_LOCK)))),
        task_message.encode(go_message(max_retry=2**31 - 1, error="no", deadline=2**62)),
        task_message.encode(go_message(unique_key=OTHER_LOCK)) + b"\x52" + bytes([len(LOCK)]) + LOCK.encode(),
        task_message.encode(TaskMessage(id="", type="", queue="", unique_key=LOCK)),
    ],
    ids=[
        *(
            "plain",
            "unknown fields",
            *(f"{size} {n}" for n in "ab" for size in (127, 128, 16_384, 3_000_000)),
        ),
        *("nested", "numbers", "twice", "last"),
    ],
)
def test_a_message_names_its_lock(lab: ScriptLab, data: bytes) -> None:
    go_leaves(lab, "aggregating", data)
    lab.client.set(OTHER_LOCK, "go")
    delete(lab)
    assert not locked(lab)
    assert lab.client.exists(OTHER_LOCK)


def test_a_task_with_a_truncated_message_is_deleted_without_a_lock(lab: ScriptLab) -> None:
    for length in range(WHOLE.index(LOCK.encode()) + len(LOCK)):
        go_leaves(lab, "aggregating", WHOLE[:length])
        delete(lab)
        assert locked(lab)
        assert not lab.client.exists(f"{P}t:go")


@pytest.mark.parametrize("data", [b"\xff" * 40, b"\x52" + b"\xff" * 9 + b"\x7f", b"\x12\xff\xff\xff\xff\xff"])
def test_a_damaged_message_does_not_stop_a_deletion(lab: ScriptLab, data: bytes) -> None:
    go_leaves(lab, "aggregating", data)
    delete(lab)
    assert lab.client.keys(f"{P}t:*") == []


def test_a_message_without_a_lock_names_none(lab: ScriptLab) -> None:
    go_leaves(lab, "aggregating", task_message.encode(go_message(unique_key="")))
    delete(lab)
    assert locked(lab)


@pytest.mark.parametrize("task_id", ["a", "task"])
@pytest.mark.parametrize("name", ["asynq:{other}:unique:email:", "asynq:{q", "as"])
def test_a_key_of_another_queue_is_not_deleted(lab: ScriptLab, name: str, task_id: str) -> None:
    go_leaves(lab, "aggregating", task_message.encode(go_message(task_id, unique_key=name)), task_id)
    lab.client.set(name, task_id)
    delete(lab, task_id)
    assert lab.client.get(name) == task_id.encode()


def test_the_field_takes_precedence_over_the_message(lab: ScriptLab) -> None:
    go_leaves(lab, "aggregating")
    lab.client.hset(f"{P}t:go", "unique_key", OTHER_LOCK)
    lab.client.set(OTHER_LOCK, "go")
    delete(lab)
    assert locked(lab)
    assert not lab.client.exists(OTHER_LOCK)


def test_running_by_hand_stores_the_name_of_the_lock_in_the_hash(lab: ScriptLab) -> None:
    go_leaves(lab, "aggregating")
    assert lab.one(RunTask(queue="q", task_id="go")) is None
    assert lab.client.hget(f"{P}t:go", "unique_key") == LOCK.encode()
    assert not lab.client.hexists(f"{P}t:go", "group")


def test_running_by_hand_stores_no_name_without_a_lock(lab: ScriptLab) -> None:
    lab.enqueue(message("go", group="g"))
    assert lab.one(RunTask(queue="q", task_id="go")) is None
    assert not lab.client.hexists(f"{P}t:go", "unique_key")


def delete_each(lab: ScriptLab) -> None:
    """Delete the tasks one by one."""
    for name in OTHERS:
        delete(lab, name)


def delete_all(lab: ScriptLab) -> None:
    """Delete the tasks with their queue."""
    assert lab.one(DeleteQueue(queue="q", force=True, limit=50)).done


OTHERS = ("ours", "ours-plain", "ours-unique", "theirs", "theirs-unique")


@pytest.mark.parametrize("deletion", [delete_each, delete_all])
def test_messages_of_tasks_without_such_a_lock_are_not_read(
    lab: ScriptLab, deletion: Callable[[ScriptLab], None]
) -> None:
    """Only a task in a group that Go created may have a lock that its hash does not name."""
    lab.enqueue(message("ours", group="g"), message("ours-plain"))
    lab.enqueue(go_message("ours-unique"), unique=Unique(ttl=60_000))
    go_leaves(lab, "retry", task_id="theirs")
    lab.client.hdel(f"{P}t:theirs", "group")
    go_leaves(lab, "retry", task_id="theirs-unique")
    lab.client.hset(f"{P}t:theirs-unique", "unique_key", LOCK)
    lab.client.config_resetstat()
    deletion(lab)
    assert "cmdstat_hget" not in lab.client.info("commandstats")
