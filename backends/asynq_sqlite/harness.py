"""What the conformance suite needs of a store in a file or in memory: open it, empty it, damage it.

Only the suite imports this module, so the backend does not depend on the suite.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from asynq_conformance import Harness
from asynq_sqlite.broker import MemoryBroker, SQLiteBroker

if TYPE_CHECKING:
    from asynq.clock import FakeClock


class SQLiteHarness(Harness):
    """Opens brokers on the file of a URL; damage is done with SQL."""

    column = "sqlite"
    machine_share = 0.1  # each step flushes the disk

    def __init__(self, url: str) -> None:
        self.path = Path(unquote(urlsplit(url).path)[1:]).absolute()
        self._renewed: SQLiteBroker | None = None

    def open(self, clock: FakeClock) -> SQLiteBroker:
        self.empty()
        return self.reopen(clock)

    def renew(self, clock: FakeClock) -> SQLiteBroker:
        if self._renewed is None or self._renewed.clock is not clock:
            self._renewed = self.open(clock)
        else:
            self._delete_rows()
        return self._renewed

    def reopen(self, clock: FakeClock) -> SQLiteBroker:
        return SQLiteBroker(self.path, clock=clock)

    def empty(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def about(self) -> dict[str, str]:
        return {"server": f"sqlite {sqlite3.sqlite_version}"}

    def factory(self) -> tuple[str, dict[str, str]]:
        # Histories tell what concurrent processes do to one another; none loses power.
        return "asynq_sqlite:SQLiteBroker", {"path": str(self.path), "durability": "process"}

    def corrupt(self, queue: str, task_id: str) -> None:
        self._update("headers = '{'", queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        self._update("lease_token = NULL", queue, task_id)

    def _update(self, change: str, queue: str, task_id: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            sql = f"UPDATE tasks SET {change} WHERE queue = ? AND id = ?"
            if connection.execute(sql, (queue, task_id)).rowcount != 1:
                raise LookupError(f"there is no such task to damage: {task_id!r} in queue {queue!r}")

    def _delete_rows(self) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                connection.execute(f"DELETE FROM {table}")


class MemoryHarness(Harness):
    """Opens brokers in memory. Nothing outside can damage their tasks."""

    column = "memory"

    def __init__(self, url: str) -> None:
        del url  # each broker is a store of its own

    def open(self, clock: FakeClock) -> MemoryBroker:
        return MemoryBroker(clock=clock)

    def empty(self) -> None:
        """Do nothing: the next broker is empty."""
