"""The connection that all steps use, with queries that can read damaged text."""

from __future__ import annotations

import sqlite3
from typing import Any

from asynq_sqlite.store.sqlite_errors import is_undecodable_text


class StoreConnection:
    """A connection with an open transaction. See `asynq_sqlite.database`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.max_size: int | None = None
        """Number of bytes that tasks may fill before the file must not grow; None: no limit but the disk."""
        self.tails: dict[str, int] = {}
        """The rank of the last pending task of each queue, as far as this transaction knows it."""
        self.listed: set[str] = set()
        """Queues of which this transaction knows that they are listed."""

    def forget(self) -> None:
        """Forget what is known: another transaction begins, or a part of this one was undone."""
        self.tails.clear()
        self.listed.clear()

    def used(self) -> int:
        """Return the number of bytes of the file that are in use."""
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        (free,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.connection.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def fetch(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows of a query. In text that is not UTF-8, invalid bytes become lone surrogates."""
        try:
            return self.connection.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            if not is_undecodable_text(error):
                raise
        self.connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            return self.connection.execute(sql, values).fetchall()
        finally:
            self.connection.text_factory = str
