"""What the web interface is to cope with: a damaged store, and one that takes no changes for a while."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis


@frozen
class RedisUnderneath:
    """The server that a broker uses."""

    client: redis.Redis

    def damage(self, queue: str) -> None:
        """Lose the list of the pending tasks of a queue."""
        self.client.delete(f"asynq:{{{queue}}}:pending")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no change begin until the end of the block."""
        self.client.client_pause(60_000, all=False)
        try:
            yield
        finally:
            self.client.client_unpause()


@frozen
class SQLiteUnderneath:
    """The file that a broker uses."""

    path: Path

    def damage(self, queue: str) -> None:
        """Lose the queue from the list of the queues."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("DELETE FROM queues WHERE name = ?", [queue])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no change begin until the end of the block."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")


Underneath = RedisUnderneath | SQLiteUnderneath
