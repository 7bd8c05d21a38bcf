"""Every operation has a handler, and none scans a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_sqlite import SQLiteBroker
from asynq_sqlite.operations.execution import HANDLERS
from asynq_sqlite.store.task_store import TaskStore
from tests.sqlite.tools import LEASE, enqueue, sql, take, tasks

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery

DAY = 24 * 3600 * 1000


def test_every_operation_has_a_handler() -> None:
    assert set(HANDLERS) == set(ops.all_operations())


class Traced(TaskStore):
    """Records every statement that it executes."""

    executed: ClassVar[list[str]] = []

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        connection.set_trace_callback(self.executed.append)


ENDS: tuple[Callable[[Delivery], ops.Op[Any]], ...] = (
    lambda d: ops.Done(delivery=d),
    lambda d: ops.Complete(delivery=d),
    lambda d: ops.Retry(delivery=d, delay=0, error="e"),
    lambda d: ops.Archive(delivery=d, error="e"),
    lambda d: ops.ExtendLease(lease=d.lease, duration=LEASE),
    lambda d: ops.WriteResult(lease=d.lease, result=b""),
    lambda d: ops.Requeue(delivery=d),
)


def every_operation(broker: Broker) -> None:
    unique = ops.Unique(ttl=60_000, keep=True)
    for number in range(12):
        broker.execute(enqueue(f"t{number}", unique=unique, unique_key=f"k{number}", retention=60))
    broker.execute(enqueue("later", process_in=10))
    for delivery, end in zip(take(broker, wanted=len(ENDS)), ENDS, strict=True):
        broker.execute(end(delivery))
    broker.execute_many([ops.Requeue(delivery=delivery) for delivery in take(broker, "some", wanted=2)])
    lost = take(broker, "other")[0]
    steps: tuple[ops.Op[Any], ...] = (
        ops.Forward(queue="q"),
        ops.ListLostLeases(queue="q"),
        ops.AdoptOrphans(queue="q", grace=LEASE),
        ops.PurgeCompleted(queue="q"),
        ops.TrimArchive(queue="q"),
        ops.GetQueueStats(queue="q"),
        ops.GetTask(queue="q", task_id=lost.message.id),
        ops.ListTasks(queue="q", state=TaskState.PENDING),
        ops.ListTasks(queue="q", state=TaskState.PENDING, offset=1),
        ops.ListTasks(queue="q", state=TaskState.AGGREGATING, group="g", offset=1),
    )
    for op in steps:
        broker.execute(op)


def test_no_statement_scans_or_sorts_a_queue(path: Path) -> None:
    broker = SQLiteBroker(path, store=Traced)
    Traced.executed.clear()
    every_operation(broker)
    broker.close()
    # Counting groups sorts what aggregates, adopting sorts what is active, paused queues are few.
    few = ("count(DISTINCT", "seq >", "FROM paused", "name FROM queues")
    # The tasks of a batch, and a query with a limit.
    bounded = ("SCAN json_each ", "SCAN wanted", "SCAN 50 CONSTANT ROWS", "SCAN (subquery")
    queries = {text for text in Traced.executed if text.startswith(("SELECT", "UPDATE", "DELETE", "WITH"))}
    plans = {
        text: [step[3] for step in sql(path, f"EXPLAIN QUERY PLAN {text}") if not step[3].startswith(bounded)]
        for text in queries
        if not any(part in text for part in few)
    }
    assert len(plans) > 20
    assert not {
        text: plan for text, plan in plans.items() if "SCAN" in str(plan) or "TEMP B-TREE" in str(plan)
    }


def test_tasks_before_a_page_are_counted_in_the_index_alone(path: Path) -> None:
    broker = SQLiteBroker(path, store=Traced)
    broker.execute_many([enqueue(f"t{number}") for number in range(3)])
    Traced.executed.clear()
    [task] = broker.execute(ops.ListTasks(queue="q", state=TaskState.PENDING, offset=2))
    broker.close()
    assert task.message.id == "t2"
    [query] = [text for text in Traced.executed if "OFFSET" in text]
    [step] = sql(path, f"EXPLAIN QUERY PLAN {query}")
    assert "USING COVERING INDEX tasks_by_state" in step[3]


def test_a_large_batch_of_runs_takes_as_many_statements_as_a_small_one(path: Path) -> None:
    broker = SQLiteBroker(path, store=Traced)
    broker.execute_many([enqueue(f"t{number}") for number in range(200)])
    done = [ops.Done(delivery=delivery) for delivery in take(broker, "first", wanted=50)]
    spent = []
    for size in (2, 48):
        batch, done = done[:size], done[size:]
        fetch = ops.Dequeue(orders=(("q",),) * size, token=f"token{size}", lease=LEASE)
        Traced.executed.clear()
        *settled, taken = broker.execute_many([*batch, fetch])
        spent.append(len(Traced.executed))
        assert isinstance(taken, tuple)
        assert (settled, len(taken)) == ([None] * size, size)
    broker.close()
    assert spent[1] <= spent[0] < 20


def test_daily_counters_are_kept_for_90_days(broker: SQLiteBroker, clock: FakeClock, path: Path) -> None:
    days = []
    for number in range(92):
        broker.execute(enqueue(f"t{number}"))
        broker.execute(ops.Done(delivery=take(broker, f"token{number}")[0]))
        days.append(sql(path, "SELECT max(day) FROM daily")[0][0])
        clock.advance(DAY)
    assert [day for (day,) in sql(path, "SELECT day FROM daily ORDER BY day")] == days[-91:]


def test_totals_start_again_after_the_largest_integer(broker: SQLiteBroker, path: Path) -> None:
    broker.execute_many([enqueue("a"), enqueue("b")])
    sql(path, "UPDATE queues SET processed = ?", 2**63 - 2)
    totals = []
    for delivery in take(broker, wanted=2):
        broker.execute(ops.Done(delivery=delivery))
        totals.append(broker.execute(ops.GetQueueStats(queue="q")).processed_total)
    assert totals == [2**63 - 1, 1]


@pytest.mark.parametrize("until", ["done", "expiry"])
def test_expired_locks_are_deleted(broker: SQLiteBroker, clock: FakeClock, path: Path, until: str) -> None:
    broker.execute(enqueue("t", unique=ops.Unique(ttl=1000, until=until), unique_key="k"))  # type: ignore[arg-type]
    clock.advance(999)
    broker.execute(ops.PurgeCompleted(queue="q"))
    assert sql(path, "SELECT name FROM locks") == [("k",)]
    clock.advance(1)
    broker.execute(ops.PurgeCompleted(queue="q"))
    assert sql(path, "SELECT name FROM locks") == []


def test_a_kept_lock_lasts_while_its_task_waits(broker: SQLiteBroker, clock: FakeClock, path: Path) -> None:
    broker.execute(enqueue("t", unique=ops.Unique(ttl=1000, keep=True), unique_key="k"))
    clock.advance(DAY)
    broker.execute(ops.PurgeCompleted(queue="q"))
    assert sql(path, "SELECT task_id FROM locks") == [("t",)]
    [second] = broker.execute_many([enqueue("second", unique=ops.Unique(ttl=1000), unique_key="k")])
    assert "already in queue" in str(second)
    assert [task.message.id for task in tasks(broker, TaskState.PENDING)] == ["t"]
