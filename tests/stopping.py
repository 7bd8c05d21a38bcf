"""Stops a process (SIGSTOP) at an instant when it does not block others."""

from __future__ import annotations

import os
import signal
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

SQLITE = "sqlite:///"


def stop(pid: int, url: str) -> None:
    """Stop a process that works on the store at a URL. Returns when all its threads are stopped.

    A process stopped within a SQLite transaction would keep the lock of the file and block all writers.
    Therefore the write lock is held here meanwhile, so that the process is in no such transaction.
    """
    with nobody_writes(url):
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: is_stopped(pid), explain=lambda: f"process {pid} is not stopped")


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process is stopped."""
    stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] == "T" for stat in stats)


@contextmanager
def nobody_writes(url: str) -> Iterator[None]:
    """Hold the write lock of a SQLite file. For other stores, nothing is held: clients do not lock them."""
    if not url.startswith(SQLITE):
        yield
        return
    connection = sqlite3.connect(url.removeprefix(SQLITE), timeout=PATIENCE, isolation_level=None)
    with closing(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")
