"""What the conformance suite needs of a store at a URL: to empty it, to damage it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from asynq_sqlite.broker import MemoryBroker, SQLiteBroker

if TYPE_CHECKING:
    from asynq.clock import Clock


class SQLiteRig:
    """Reaches behind the brokers of a file, with SQL."""

    column = "sqlite"

    def __init__(self, url: str) -> None:
        self._url = url
        self._path = Path(unquote(urlsplit(url).path)[1:]).absolute()

    def broker(self, clock: Clock | None) -> SQLiteBroker:
        """A broker on the file as it is."""
        return SQLiteBroker(self._path, clock=clock)

    def factory(self) -> tuple[str, dict[str, str]]:
        """How another process opens the file."""
        return "asynq:connect", {"url": self._url}

    def about(self) -> dict[str, str]:
        """Version of the library."""
        return {"server": f"sqlite {sqlite3.sqlite_version}"}

    def empty(self) -> None:
        """Remove the file, and what SQLite keeps beside it."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def corrupt(self, queue: str, task_id: str) -> None:
        """Make a message undecodable."""
        self._update("headers = '{'", queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        """Remove the lease of an active task."""
        self._update("lease_token = NULL", queue, task_id)

    def _update(self, change: str, queue: str, task_id: str) -> None:
        with closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute(f"UPDATE tasks SET {change} WHERE queue = ? AND id = ?", (queue, task_id))


class MemoryRig:
    """Makes brokers in memory, where nobody can do damage from outside."""

    column = "memory"

    def __init__(self, url: str) -> None:
        del url

    def broker(self, clock: Clock | None) -> MemoryBroker:
        """A broker of its own, which is empty."""
        return MemoryBroker(clock=clock)

    def empty(self) -> None:
        """Nothing to do: the next broker is empty."""
