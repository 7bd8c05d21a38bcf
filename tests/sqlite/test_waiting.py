"""Waiting for other processes: within the budget, off the event loop, on any thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue, sql, take, tasks
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def writer(broker: SQLiteBroker, path: Path) -> Iterator[sqlite3.Connection]:
    """Another process during a long write."""
    broker.execute(enqueue("t"))
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def test_a_write_gives_up_after_its_budget_and_changes_nothing(
    writer: sqlite3.Connection, path: Path
) -> None:
    broker = SQLiteBroker(path, budget=timedelta(milliseconds=20))
    with pytest.raises(BrokerUnavailable) as unavailable:
        broker.execute(enqueue("late"))
    assert not unavailable.value.maybe_applied
    assert "locked" in str(unavailable.value)
    writer.execute("ROLLBACK")
    assert [task.message.id for task in tasks(broker, TaskState.PENDING)] == ["t"]
    broker.close()


def test_reads_are_not_blocked_by_a_writer(writer: sqlite3.Connection, path: Path) -> None:
    assert writer.in_transaction
    broker = SQLiteBroker(path, budget=timedelta(0))
    assert [task.message.id for task in tasks(broker, TaskState.PENDING)] == ["t"]
    broker.close()


async def test_closing_does_not_wait_for_a_cancelled_write(writer: sqlite3.Connection, path: Path) -> None:
    assert writer.in_transaction
    broker = SQLiteBroker(path, budget=timedelta(minutes=10))
    threads = threading.active_count()
    writing = asyncio.create_task(broker.aexecute(enqueue("late")))
    async with asyncio.timeout(PATIENCE):
        await aeventually(lambda: threading.active_count() > threads)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await broker.aclose()
    writer.execute("ROLLBACK")
    assert [task.message.id for task in tasks(broker, TaskState.PENDING)] == ["t"]
    broker.close()


def test_a_write_succeeds_when_the_other_has_ended(writer: sqlite3.Connection, path: Path) -> None:
    broker = SQLiteBroker(path, budget=timedelta(seconds=30))
    waiting = threading.Thread(target=broker.execute, args=(enqueue("late"),))
    waiting.start()
    writer.execute("COMMIT")
    waiting.join()
    assert len(tasks(broker, TaskState.PENDING)) == 2
    broker.close()


async def test_a_waiting_write_does_not_block_the_event_loop(writer: sqlite3.Connection, path: Path) -> None:
    broker = SQLiteBroker(path, budget=timedelta(seconds=30))
    waiting = asyncio.create_task(broker.aexecute(enqueue("late")))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not waiting.done()
    writer.execute("COMMIT")
    await waiting
    await broker.aclose()


async def test_a_cancelled_call_does_not_affect_the_next(writer: sqlite3.Connection, path: Path) -> None:
    broker = SQLiteBroker(path, budget=timedelta(seconds=30))
    first = asyncio.create_task(broker.aexecute(enqueue("first")))
    second = asyncio.create_task(broker.aexecute(enqueue("second")))
    third = asyncio.create_task(broker.aexecute(enqueue("third")))
    await asyncio.sleep(0)
    second.cancel()
    writer.execute("COMMIT")
    await first
    await third
    assert second.cancelled()
    await broker.aclose()


def commits(path: Path) -> int:
    """Return the size of the write-ahead log, which grows with every commit."""
    return path.with_name(path.name + "-wal").stat().st_size


async def test_concurrently_waiting_callers_share_a_transaction(path: Path) -> None:
    alone, together = (SQLiteBroker(path.with_name(name), durability="process") for name in ("a", "b"))
    for number in range(50):
        await alone.aexecute(enqueue(f"t{number}"))
    await asyncio.gather(*(together.aexecute(enqueue(f"t{number}")) for number in range(50)))
    assert commits(path.with_name("b")) < commits(path.with_name("a")) / 4
    assert [task.message.id for task in tasks(together, TaskState.PENDING)] == [f"t{n}" for n in range(50)]
    await alone.aclose()
    await together.aclose()


def test_any_number_of_threads_may_use_a_broker(broker: SQLiteBroker) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: broker.execute(enqueue(f"t{number}")), range(200)))
        taken = list(pool.map(lambda number: take(broker, f"token{number}"), range(200)))
    assert len({deliveries[0].message.id for deliveries in taken}) == 200


def test_two_event_loops_may_use_a_broker(broker: SQLiteBroker) -> None:
    for name in ("a", "b"):
        asyncio.run(broker.aexecute(enqueue(name)))
    assert len(take(broker, wanted=2)) == 2


def test_closing_ends_the_thread(broker: SQLiteBroker, path: Path) -> None:
    before = set(threading.enumerate())
    asyncio.run(broker.aexecute(enqueue("t")))
    assert len(set(threading.enumerate()) - before) == 1
    broker.close()
    assert set(threading.enumerate()) <= before
    assert sql(path, "SELECT id FROM tasks") == [("t",)]


def test_a_collected_broker_stops_its_thread(path: Path) -> None:
    before = set(threading.enumerate())
    broker = SQLiteBroker(path)
    asyncio.run(broker.aexecute(ops.Ping()))
    del broker
    assert set(threading.enumerate()) <= before
