"""The cost of an idle worker does not depend on the number of its queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from asynq.brokerkit.events import poller
from asynq.protocol import ops
from asynq_sqlite import MemoryBroker, SQLiteBroker
from asynq_sqlite.store.task_file import TaskFile
from asynq_sqlite.store.task_store import TaskStore
from tests.sqlite.tools import enqueue
from tests.waiting import aeventually

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

UPKEEP: dict[str, Callable[[str], ops.Op[Any]]] = {
    "forwarding": lambda queue: ops.Forward(queue=queue),
    "recovery": lambda queue: ops.ListLostLeases(queue=queue),
    "adoption": lambda queue: ops.AdoptOrphans(queue=queue, grace=1000),
    "purging": lambda queue: ops.PurgeCompleted(queue=queue),
    "trimming": lambda queue: ops.TrimArchive(queue=queue),
    "reclaiming": lambda queue: ops.ReclaimAggregations(queue=queue),
    "repairing": lambda queue: ops.RepairGroups(queue=queue),
    "groups": lambda queue: ops.ListGroups(queue=queue),
}


class Traced(TaskStore):
    """Records every statement that it executes."""

    statements: ClassVar[list[str]] = []

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        connection.set_trace_callback(self.statements.append)


@pytest.mark.parametrize("op", UPKEEP.values(), ids=UPKEEP)
def test_upkeep_of_many_queues_takes_as_many_statements_as_of_few(op: Callable[[str], ops.Op[Any]]) -> None:
    broker = MemoryBroker(store=Traced)
    for number in range(3):
        broker.execute(enqueue("t", queue=f"q{number}"))
    spent = []
    for count in (30, 3000):
        Traced.statements.clear()
        broker.execute_many([op(f"q{number}") for number in range(count)])
        spent.append(len(Traced.statements))
    assert spent[0] == spent[1] < 10


def test_dequeuing_from_many_empty_queues_takes_as_many_statements_as_from_few() -> None:
    broker = MemoryBroker(store=Traced)
    broker.execute(enqueue("t", queue="q29"))
    spent = []
    for count in (30, 3000):
        Traced.statements.clear()
        orders = (tuple(f"q{number}" for number in range(count)),) * 4
        [delivery] = broker.execute(ops.Dequeue(orders=orders, token=f"token{count}", lease=1000))
        spent.append(len(Traced.statements))
        broker.execute(ops.Requeue(delivery=delivery))
    assert spent[0] == spent[1]


async def test_an_unchanged_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    looks = 0

    class Watched(TaskFile):
        def open(self) -> sqlite3.Connection:
            opened.append(super().open())
            return opened[-1]

        def written(self) -> object:
            nonlocal looks
            looks += 1
            return super().written()

    monkeypatch.setattr("asynq_sqlite.broker.TaskFile", Watched)
    broker = SQLiteBroker(path)
    broker.execute_many([enqueue("t", queue=f"q{number}") for number in range(50)])
    listener = broker.listener()
    await listener.arm([f"q{number}" for number in range(50)])
    await aeventually(lambda: looks > 0)
    statements: list[str] = []
    [connection] = opened
    connection.set_trace_callback(statements.append)
    seen = looks
    await aeventually(lambda: looks > seen + 3 * poller.QUIET_POLLS)
    assert set(statements) <= {"PRAGMA data_version"}
    assert len(statements) < (looks - seen) / 2
    await listener.aclose()
    broker.close()
