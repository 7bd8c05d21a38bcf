"""The name of a task's lock: a field of its hash or, for a task that Go put into a group, in its message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import DeleteQueue, DeleteTask, RunTask, Unique
from asynq_redis.wire import task_message
from tests.redis.driver import Driver, message
from tests.redis.go_tasks import LOCK, P, go_leaves, go_message, locked

if TYPE_CHECKING:
    from collections.abc import Callable


def delete(driver: Driver, task_id: str = "go") -> None:
    """Delete a task by hand."""
    assert driver.one(DeleteTask(queue="q", task_id=task_id)) is None


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
def test_a_message_names_its_lock(driver: Driver, data: bytes) -> None:
    go_leaves(driver, "aggregating", data)
    driver.client.set(OTHER_LOCK, "go")
    delete(driver)
    assert not locked(driver)
    assert driver.client.exists(OTHER_LOCK)


def test_a_task_with_a_truncated_message_is_deleted_without_a_lock(driver: Driver) -> None:
    for length in range(WHOLE.index(LOCK.encode()) + len(LOCK)):
        go_leaves(driver, "aggregating", WHOLE[:length])
        delete(driver)
        assert locked(driver)
        assert not driver.client.exists(f"{P}t:go")


@pytest.mark.parametrize("data", [b"\xff" * 40, b"\x52" + b"\xff" * 9 + b"\x7f", b"\x12\xff\xff\xff\xff\xff"])
def test_a_damaged_message_does_not_stop_a_deletion(driver: Driver, data: bytes) -> None:
    go_leaves(driver, "aggregating", data)
    delete(driver)
    assert driver.client.keys(f"{P}t:*") == []


def test_a_message_without_a_lock_names_none(driver: Driver) -> None:
    go_leaves(driver, "aggregating", task_message.encode(go_message(unique_key="")))
    delete(driver)
    assert locked(driver)


@pytest.mark.parametrize("task_id", ["a", "task"])
@pytest.mark.parametrize("name", ["asynq:{other}:unique:email:", "asynq:{q", "as"])
def test_a_key_of_another_queue_is_not_deleted(driver: Driver, name: str, task_id: str) -> None:
    go_leaves(driver, "aggregating", task_message.encode(go_message(task_id, unique_key=name)), task_id)
    driver.client.set(name, task_id)
    delete(driver, task_id)
    assert driver.client.get(name) == task_id.encode()


def test_the_field_takes_precedence_over_the_message(driver: Driver) -> None:
    go_leaves(driver, "aggregating")
    driver.client.hset(f"{P}t:go", "unique_key", OTHER_LOCK)
    driver.client.set(OTHER_LOCK, "go")
    delete(driver)
    assert locked(driver)
    assert not driver.client.exists(OTHER_LOCK)


def test_running_by_hand_stores_the_name_of_the_lock_in_the_hash(driver: Driver) -> None:
    go_leaves(driver, "aggregating")
    assert driver.one(RunTask(queue="q", task_id="go")) is None
    assert driver.client.hget(f"{P}t:go", "unique_key") == LOCK.encode()
    assert not driver.client.hexists(f"{P}t:go", "group")


def test_running_by_hand_stores_no_name_without_a_lock(driver: Driver) -> None:
    driver.enqueue(message("go", group="g"))
    assert driver.one(RunTask(queue="q", task_id="go")) is None
    assert not driver.client.hexists(f"{P}t:go", "unique_key")


def delete_each(driver: Driver) -> None:
    """Delete the tasks one by one."""
    for name in OTHERS:
        delete(driver, name)


def delete_all(driver: Driver) -> None:
    """Delete the tasks with their queue."""
    assert driver.one(DeleteQueue(queue="q", force=True, limit=50)).done


OTHERS = ("ours", "ours-plain", "ours-unique", "theirs", "theirs-unique")


@pytest.mark.parametrize("deletion", [delete_each, delete_all])
def test_messages_of_tasks_without_such_a_lock_are_not_read(
    driver: Driver, deletion: Callable[[Driver], None]
) -> None:
    """Only a task in a group that Go created may have a lock that its hash does not name."""
    driver.enqueue(message("ours", group="g"), message("ours-plain"))
    driver.enqueue(go_message("ours-unique"), unique=Unique(ttl=60_000))
    go_leaves(driver, "retry", task_id="theirs")
    driver.client.hdel(f"{P}t:theirs", "group")
    go_leaves(driver, "retry", task_id="theirs-unique")
    driver.client.hset(f"{P}t:theirs-unique", "unique_key", LOCK)
    driver.client.config_resetstat()
    deletion(driver)
    assert "cmdstat_hget" not in driver.client.info("commandstats")
