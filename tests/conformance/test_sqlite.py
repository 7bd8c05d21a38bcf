"""The laws of a broker, on a SQLite file and in memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from asynq_conformance import BrokerConformance, Harness
from asynq_sqlite import MemoryBroker, SQLiteBroker

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.clock import FakeClock


class FileHarness(Harness):
    """A broker on a file; damage is done with SQL."""

    machine_share = 0.1  # each step flushes the disk

    def __init__(self, path: Path) -> None:
        self.path = path
        self._shared: SQLiteBroker | None = None

    def open(self, clock: FakeClock) -> SQLiteBroker:
        return self.reopen(clock)

    def renew(self, clock: FakeClock) -> SQLiteBroker:
        if self._shared is None:
            self._shared = self.open(clock)
            return self._shared
        with closing(sqlite3.connect(self.path)) as connection, connection:
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table'"
            ).fetchall():
                connection.execute(f"DELETE FROM {table}")
        return self._shared

    def reopen(self, clock: FakeClock) -> SQLiteBroker:
        return SQLiteBroker(self.path, clock=clock)

    def factory(self) -> tuple[str, dict[str, Any]]:
        return "asynq_sqlite:SQLiteBroker", {"path": str(self.path), "durability": "process"}

    def corrupt(self, queue: str, task_id: str) -> None:
        self._update("headers = '{'", queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        self._update("lease_token = NULL", queue, task_id)

    def _update(self, change: str, queue: str, task_id: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            sql = f"UPDATE tasks SET {change} WHERE queue = ? AND id = ?"
            assert connection.execute(sql, (queue, task_id)).rowcount == 1


class MemoryHarness(Harness):
    """A broker in memory, where nobody can do damage from outside."""

    def open(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock=clock)


class TestSQLite(BrokerConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return FileHarness(tmp_path / "tasks.db")


class TestMemory(BrokerConformance):
    @pytest.fixture
    def harness(self) -> Harness:
        return MemoryHarness()
