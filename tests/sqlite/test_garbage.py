"""Damaged rows: each is archived with its contents, and blocks no other task."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from tests.sqlite.tools import LEASE, enqueue, sql, take, tasks

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.clock import FakeClock
    from asynq_sqlite import SQLiteBroker

DAMAGES = [
    ("headers", "'{'", "headers are not JSON"),
    ("headers", "'[1]'", "headers are not a JSON object of strings"),
    ("headers", "'{\"a\": 1}'", "headers are not a JSON object of strings"),
    ("headers", "x'00'", "headers is bytes, not str"),
    ("payload", "'text'", "payload is str, not bytes"),
    ("payload", "7", "payload is int, not bytes"),
    ("type", "CAST(x'ff41' AS TEXT)", "type is not UTF-8"),
    ("error", "CAST(x'c3' AS TEXT)", "error is not UTF-8"),
    ("timeout", "'soon'", "timeout is str, not int"),
    ("retried", "1.5", "retried is float, not int"),
    ("max_retry", "x'01'", "max_retry is bytes, not int"),
    ("unique_key", "x'01'", "unique_key is bytes, not str"),
]


@pytest.mark.parametrize(("column", "value", "reason"), DAMAGES)
def test_a_damaged_task_is_archived_when_it_is_dequeued(
    broker: SQLiteBroker, path: Path, column: str, value: str, reason: str
) -> None:
    broker.execute_many([enqueue("first"), enqueue("bad", payload=b"kept"), enqueue("last")])
    sql(path, f"UPDATE tasks SET {column} = {value} WHERE id = 'bad'")
    assert [delivery.message.id for delivery in take(broker, wanted=3)] == ["first", "last"]
    [aside] = tasks(broker, TaskState.ARCHIVED)
    assert (aside.message.id, aside.message.type) == ("bad", "asynq:undecodable")
    assert aside.message.error.startswith(f"set aside: {reason}")
    raw = json.loads(aside.message.payload)
    assert raw["id"] == "bad"
    if column != "payload":
        assert raw["payload"] == {"base64": "a2VwdA=="}


def test_archiving_a_damaged_task_is_logged(
    broker: SQLiteBroker, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.execute_many([enqueue("bad"), enqueue("good")])
    sql(path, "UPDATE tasks SET headers = '{' WHERE id = 'bad'")
    take(broker, wanted=2)
    [line] = caplog.messages
    assert line.startswith("task 'bad' of queue 'q' cannot be decoded, now archived: headers")


def test_a_damaged_task_is_archived_when_its_lease_is_lost(
    broker: SQLiteBroker, path: Path, clock: FakeClock
) -> None:
    broker.execute_many([enqueue("bad"), enqueue("good")])
    take(broker, wanted=2)
    sql(path, "UPDATE tasks SET headers = '{' WHERE id = 'bad'")
    clock.advance(LEASE)
    lost = broker.execute(ops.ListLostLeases(queue="q"))
    assert lost.set_aside == ("bad",)
    assert [lease.message.id for lease in lost.leases] == ["good"]
    assert tasks(broker, TaskState.ARCHIVED)[0].message.error.startswith("set aside: headers")


def test_an_id_that_is_not_text_is_replaced(broker: SQLiteBroker, path: Path) -> None:
    broker.execute_many([enqueue("bad"), enqueue("good")])
    sql(path, "UPDATE tasks SET id = CAST(x'ff' AS TEXT) WHERE id = 'bad'")
    assert [delivery.message.id for delivery in take(broker, wanted=2)] == ["good"]
    [aside] = tasks(broker, TaskState.ARCHIVED)
    assert aside.message.id.startswith("undecodable-")
    assert broker.execute(ops.GetTask(queue="q", task_id=aside.message.id)).message == aside.message


def test_damaged_scheduled_tasks_are_forwarded_like_others(
    broker: SQLiteBroker, path: Path, clock: FakeClock
) -> None:
    broker.execute_many([enqueue("bad", process_in=1000), enqueue("good", process_in=1000)])
    sql(path, "UPDATE tasks SET headers = '{' WHERE id = 'bad'")
    clock.advance(2000)
    assert broker.execute(ops.Forward(queue="q")).moved == 2
    assert [delivery.message.id for delivery in take(broker, wanted=2)] == ["good"]


def test_many_damaged_tasks_do_not_block_the_next_valid_one(broker: SQLiteBroker, path: Path) -> None:
    broker.execute_many([*(enqueue(f"bad{n}") for n in range(120)), enqueue("good")])
    sql(path, "UPDATE tasks SET headers = '{' WHERE id LIKE 'bad%'")
    taken = [take(broker, f"token{call}") for call in range(3)]
    assert [delivery.message.id for deliveries in taken for delivery in deliveries] == ["good"]
    assert len(tasks(broker, TaskState.ARCHIVED)) == 120
