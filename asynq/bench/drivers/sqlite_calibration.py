"""The speed of SQLite itself: `python sqlite_calibration.py DIRECTORY ROWS_EACH TRANSACTIONS`.

Prints rows a second. The file has the settings of the broker's file, and one table with an index.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from pathlib import Path

SETTINGS = {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "secure_delete": 0}
"""Those of `SQLiteBroker` with its default durability. 2 is FULL."""
PAYLOAD = b"x" * 100


def rows_a_second(directory: Path, rows: int, transactions: int) -> float:
    """Insert `rows` rows in each of several transactions into a new file."""
    path = directory / "calibration.db"
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for name, value in SETTINGS.items():
            connection.execute(f"PRAGMA {name} = {value}")
        connection.execute("CREATE TABLE rows (id TEXT PRIMARY KEY, payload BLOB)")
        started = time.perf_counter()
        for transaction in range(transactions):
            connection.execute("BEGIN IMMEDIATE")
            for row in range(rows):
                connection.execute("INSERT INTO rows VALUES (?, ?)", (f"{transaction}-{row}", PAYLOAD))
            connection.execute("COMMIT")
        return rows * transactions / (time.perf_counter() - started)
    finally:
        connection.close()
        for name in ("", "-wal", "-shm"):
            Path(f"{path}{name}").unlink(missing_ok=True)


if __name__ == "__main__":
    directory, rows, transactions = sys.argv[1:]
    sys.stdout.write(f"{rows_a_second(Path(directory), int(rows), int(transactions))}\n")
