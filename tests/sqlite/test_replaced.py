"""A file that is removed, replaced or restored while it is in use: nothing is acknowledged and lost."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerRefusedError, BrokerUnavailable, LeaseLostError
from asynq.protocol import ops
from asynq.protocol.broker import Wake
from asynq.task_state import TaskState
from asynq_sqlite import SQLiteBroker
from asynq_sqlite.store.task_store import TaskStore
from tests.sqlite.tools import LEASE, enqueue, run_script, sql, take, tasks
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynq.clock import FakeClock

ENQUEUE = """
import sys
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue
broker = SQLiteBroker(sys.argv[1])
for number in range(60):
    broker.execute(enqueue(f"new{number}"))
"""


def beside(path: Path) -> tuple[Path, Path]:
    """What SQLite keeps beside a file."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def remove(path: Path) -> None:
    for file in (*beside(path), path):
        file.unlink(missing_ok=True)


def backup(path: Path, copy: Path) -> Path:
    """A copy made as the documentation says."""
    sql(path, "VACUUM INTO ?", str(copy))
    return copy


def restore(path: Path, copy: Path) -> None:
    """Put a copy in the place of the file, as the documentation says."""
    for file in beside(path):
        file.unlink(missing_ok=True)
    copy.rename(path)


def ids(broker: SQLiteBroker) -> list[str]:
    return [task.message.id for task in tasks(broker, TaskState.PENDING)]


def test_no_operation_is_acknowledged_after_the_file_is_removed(broker: SQLiteBroker, path: Path) -> None:
    broker.execute(enqueue("old"))
    remove(path)
    for op in (enqueue("new"), ops.Ping()):
        with pytest.raises(BrokerUnavailable, match="was removed while it was in use") as told:
            broker.execute(op)
        assert not told.value.maybe_applied
    assert not path.exists()


def test_a_broker_that_was_closed_creates_a_new_file(broker: SQLiteBroker, path: Path) -> None:
    broker.execute(enqueue("old"))
    remove(path)
    broker.close()
    broker.execute(enqueue("new"))
    assert ids(broker) == ["new"]
    assert sql(path, "SELECT id FROM tasks") == [("new",)]


def test_a_restored_file_is_used_and_this_is_logged(
    broker: SQLiteBroker, path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broker.execute(enqueue("saved"))
    copy = backup(path, tmp_path / "copy.db")
    broker.execute(enqueue("later"))
    delivery = take(broker)[0]
    restore(path, copy)
    with caplog.at_level(logging.WARNING, "asynq.sqlite"):
        with pytest.raises(LeaseLostError):
            broker.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        broker.execute(enqueue("new"))
    assert ids(broker) == ["saved", "new"]
    assert sql(path, "SELECT id FROM tasks ORDER BY seq") == [("saved",), ("new",)]
    assert [record.getMessage().partition(" was ")[2][:8] for record in caplog.records] == ["replaced"]


def test_a_file_that_is_put_back_is_used(broker: SQLiteBroker, path: Path, tmp_path: Path) -> None:
    broker.execute(enqueue("saved"))
    copy = backup(path, tmp_path / "copy.db")
    remove(path)
    with pytest.raises(BrokerUnavailable):
        broker.execute(enqueue("refused"))
    copy.rename(path)
    broker.execute(enqueue("new"))
    assert ids(broker) == ["saved", "new"]


class Meanwhile(TaskStore):
    """Does something to the file in the middle of an enqueue."""

    act: Callable[[], Any] = staticmethod(lambda: None)

    def insert(self, *arguments: Any) -> bool:
        inserted = super().insert(*arguments)
        type(self).act()
        return inserted


def test_a_file_replaced_during_a_write_leaves_the_outcome_unknown(
    path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = SQLiteBroker(path, clock=clock, store=Meanwhile)
    broker.execute(ops.Ping())
    monkeypatch.setattr(Meanwhile, "act", staticmethod(lambda: remove(path)))
    with pytest.raises(BrokerUnavailable, match="removed or replaced while it was written") as told:
        broker.execute(enqueue("t"))
    assert told.value.maybe_applied
    broker.close()


def test_the_log_of_the_old_file_is_never_applied_to_the_new_one(
    broker: SQLiteBroker, path: Path, tmp_path: Path
) -> None:
    broker.execute(enqueue("saved"))
    copy = backup(path, tmp_path / "copy.db")
    broker.execute_many([enqueue(f"t{number}") for number in range(200)])
    shutil.copy(copy, tmp_path / "expected.db")
    copy.rename(path)  # and nothing else: the log of the old file stays
    with pytest.raises(BrokerRefusedError, match="belongs to the file before it"):
        broker.execute(enqueue("new"))
    assert path.read_bytes() == (tmp_path / "expected.db").read_bytes()
    for file in beside(path):
        file.unlink()
    broker.execute(enqueue("new"))
    assert ids(broker) == ["saved", "new"]


def test_removing_only_the_log_loses_nothing(broker: SQLiteBroker, path: Path) -> None:
    broker.execute(enqueue("t"))
    beside(path)[0].unlink()
    with pytest.raises(BrokerUnavailable, match="-wal was removed while"):
        broker.execute(enqueue("u"))

    def written() -> bool:
        with suppress(BrokerUnavailable):
            broker.execute(enqueue("u"))
            return True
        return False

    eventually(written)
    assert ids(broker) == ["t", "u"]
    broker.close()
    assert sql(path, "SELECT id FROM tasks ORDER BY seq") == [("t",), ("u",)]


def test_a_new_file_does_not_use_the_log_of_a_removed_one(
    broker: SQLiteBroker, path: Path, clock: FakeClock
) -> None:
    broker.execute_many([enqueue(f"old{number}") for number in range(50)])
    path.unlink()  # and nothing else: somebody has the old log and its index open
    run_script(ENQUEUE, path)
    expected = [f"new{number}" for number in range(60)]
    assert ids(broker) == expected
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


async def test_an_idle_listener_is_woken_by_tasks_in_the_new_file(
    broker: SQLiteBroker, path: Path, tmp_path: Path
) -> None:
    broker.execute(enqueue("saved"))
    copy = backup(path, tmp_path / "copy.db")
    take(broker)
    listener = broker.listener()
    await listener.arm(["q"])
    assert await asyncio.wait_for(listener.next(), 10) == Wake()
    for file in beside(path):
        file.unlink()
    with pytest.raises(BrokerUnavailable):
        broker.execute(ops.Ping())
    copy.rename(path)
    assert await asyncio.wait_for(listener.next(), 10) == Wake("q")
    assert [delivery.message.id for delivery in take(broker, "other")] == ["saved"]
    await listener.aclose()


def test_the_log_of_a_dead_process_is_applied(path: Path) -> None:
    with closing(sqlite3.connect(path)):
        pass
    child = os.fork()
    if child == 0:
        broker = SQLiteBroker(path)
        broker.execute(enqueue("t"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    broker = SQLiteBroker(path)
    assert ids(broker) == ["t"]
    broker.close()
