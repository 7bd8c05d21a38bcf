"""What every step works through: the connection, and queries that survive damaged text."""

from __future__ import annotations

import sqlite3
from typing import Any

from asynq_sqlite.store.sqlite_errors import is_undecodable_text


class StoreConnection:
    """One connection, with a transaction begun by the engine."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.max_size: int | None = None
        """Bytes tasks may fill before what makes the file grow is refused; None: as many as the disk has."""

    def used(self) -> int:
        """Bytes of the file that are in use."""
        (pages,) = self.connection.execute("PRAGMA page_count").fetchone()
        (free,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.connection.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def fetch(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a query. Text that is not UTF-8 comes with its bytes as lone surrogates."""
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
