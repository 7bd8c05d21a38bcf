"""The file a broker works on: opening it, and noticing that it was removed or replaced."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import frozen

from asynq.errors import BrokerRefusedError, BrokerUnavailable
from asynq.runtime.logs import get_logger
from asynq_sqlite.store.schema import IN_MEMORY, Durability, open_database

log = get_logger("asynq.sqlite")

_ATTEMPTS: Final = 5
"""How often a file is opened that is replaced at the same time."""
_GRACE: Final = 1.0
"""Seconds for which a file whose log was removed is not opened: whoever restores it removes the log first."""
_SECOND: Final = 1_000_000_000
_REPLACED: Final = (
    "%s was replaced by another file: the tasks of the new file are worked on from now on, and runs of tasks "
    "of the old one lose their leases"
)


@frozen
class Identity:
    """What tells one file from another at the same path."""

    device: int
    inode: int


class TaskFile:
    """The database at a path, for one connection at a time.

    SQLite goes on working on a file that was unlinked: what it writes there is lost when the last process
    closes it. So whoever uses the connection asks `in_place` before it trusts an answer, and after a commit.
    """

    def __init__(self, path: str, durability: Durability, *, quiet: bool = False) -> None:
        """`quiet`: log nothing when the file was replaced."""
        self.path = path
        self._durability = durability
        self._quiet = quiet
        self._place, self._beside = Path(path), Path(f"{path}-wal")
        self._file: Identity | None = None
        """The file that was opened last, until `forget`."""
        self._log: Identity | None = None
        """Its write-ahead log."""
        self._closed_until = 0.0

    def open(self) -> sqlite3.Connection:
        """A connection to the database, made if there is none and none was open before.

        BrokerUnavailable when the file was removed since it was opened, or its write-ahead log a moment ago;
        BrokerRefusedError when a file that replaced it would be mixed with the log of the old one.
        """
        if self.path == IN_MEMORY:
            return open_database(self.path, self._durability)
        for _ in range(_ATTEMPTS):
            before = identity(self._place)
            if before is None and self._file is not None:
                raise BrokerUnavailable(removed(self.path))
            if before is None:
                _remove_leftovers(self._place)
            elif self._file not in (None, before):
                self._refuse_old_log()
            elif time.monotonic() < self._closed_until and identity(self._beside) is None:
                raise BrokerUnavailable(f"{self._beside} was removed while {self.path} was in use")
            connection = open_database(self.path, self._durability)
            opened = identity(self._place)
            if opened is not None and before in (None, opened):
                self._remember(opened)
                return connection
            connection.close()
        raise BrokerUnavailable(f"{self.path} is replaced again and again")

    def exists(self) -> bool:
        """True if there is a file at the path."""
        return identity(self._place) is not None

    def written(self) -> object:
        """What differs once the log was written again, some time after it was written last."""
        try:
            log = self._beside.stat()
        except OSError:
            return None
        if log.st_mtime_ns % _SECOND == 0:
            return object()  # A file system that keeps whole seconds: it may have been written since.
        return log.st_mtime_ns, log.st_size, log.st_ino

    def in_place(self) -> bool:
        """True while the file that was opened last is the one at the path, and its log beside it."""
        if self.path == IN_MEMORY:
            return True
        return identity(self._place) == self._file and identity(self._beside) == self._log

    def leave(self, connection: sqlite3.Connection) -> None:
        """Close a connection whose file is not in place any more."""
        if identity(self._place) == self._file and identity(self._beside) is None:
            # Somebody removed the log alone: what it held can still be written into the file.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._closed_until = time.monotonic() + _GRACE
        connection.close()

    def forget(self) -> None:
        """Begin anew: the next `open` makes the file if there is none."""
        self._file = self._log = None
        self._closed_until = 0.0

    def _remember(self, opened: Identity) -> None:
        if self._file not in (None, opened) and not self._quiet:
            log.warning(_REPLACED, self.path)
        self._file, self._log = opened, identity(self._beside)

    def _refuse_old_log(self) -> None:
        # SQLite would write the pages of the old file's log into the new file.
        if self._log is not None and identity(self._beside) == self._log:
            raise BrokerRefusedError(
                f"{self.path} was replaced, but {self._beside} belongs to the file before it: stop all "
                f"processes that use it, remove {self._beside} and {self.path}-shm, and replace it again"
            )


def identity(path: Path) -> Identity | None:
    """Which file is at the path; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


def removed(path: str) -> str:
    """What is said of a file that is gone."""
    return (
        f"{path} was removed while it was in use: put it back, or restart the processes that use it "
        "to begin with an empty one"
    )


def _remove_leftovers(path: Path) -> None:
    """Remove the write-ahead log and its index of a file that is gone: a new file must not use them."""
    for beside in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        left = identity(beside)
        # Seen before the file was seen to be missing: nobody can have made it for a new file.
        if left is not None and identity(path) is None and identity(beside) == left:
            beside.unlink(missing_ok=True)
