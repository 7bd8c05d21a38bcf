"""The file of a broker: opens it, and detects that it was removed or replaced."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from asynq.errors import BrokerRefusedError, BrokerUnavailable
from asynq.runtime.logs import get_logger
from asynq_sqlite.store.schema import IN_MEMORY, Durability, open_database

log = get_logger("asynq.sqlite")

_ATTEMPTS: Final = 5
"""Number of attempts to open a file that is being replaced."""
_REOPEN_DELAY: Final = 1.0
"""Seconds during which a file is not opened after its log was removed: a restore removes the log first."""
_SECOND: Final = 1_000_000_000
_SETTLED: Final = 50_000_000
"""Nanoseconds after which another change of a directory has another time. Unless a file system stores whole
seconds, the steps are those of the kernel, at most 10 ms."""
_REPLACED: Final = (
    "%s was replaced by another file: from now on the tasks of the new file are processed, and runs of tasks "
    "of the old file lose their leases"
)


Identity: TypeAlias = tuple[int, int]
"""Device and inode, which distinguish files that were at the same path at different times."""


class TaskFile:
    """The database at a path, for one connection at a time.

    SQLite continues to use a file that was unlinked, and what it writes there is lost when the last process
    closes it. Therefore, users of the connection call `in_place` before they trust an answer, and after a
    commit.
    """

    def __init__(
        self, path: str, durability: Durability, *, create: bool = True, quiet: bool = False
    ) -> None:
        """Create the object; open nothing yet.

        Args:
            path: The file.
            durability: See SQLiteBroker.
            create: Whether to create a file that is missing.
            quiet: Whether to log nothing if the file was replaced.

        """
        self.path = path
        self._durability = durability
        self._create = create
        self._quiet = quiet
        self._beside = f"{path}-wal"
        self._file: Identity | None = None
        """Identity of the file that was opened last, until `forget`."""
        self._log: Identity | None = None
        """Identity of its write-ahead log."""
        self._directory = str(Path(path).parent)
        self._settled: object = None
        """State of the directory in which both were in place; None if a later change might not show in it."""
        self._closed_until = 0.0

    def open(self) -> sqlite3.Connection:
        """Return a connection to the database. The first `open` creates a file that is missing, if it may.

        Raises:
            BrokerUnavailable: The file was removed since it was opened, or its write-ahead log a moment ago.
            BrokerRefusedError: There is no file, and none is to be created; or SQLite would apply the log of
                the old file to the file that replaced it.

        """
        if self.path == IN_MEMORY:
            return open_database(self.path, self._durability)
        for _ in range(_ATTEMPTS):
            before = identity(self.path)
            if before is None and self._file is not None:
                raise BrokerUnavailable(removed(self.path))
            if before is None and not self._create:
                raise BrokerRefusedError(f"there is no database {self.path}")
            if before is None:
                _remove_leftovers(self.path)
            elif self._file not in (None, before):
                self._refuse_old_log()
            elif time.monotonic() < self._closed_until and identity(self._beside) is None:
                raise BrokerUnavailable(f"{self._beside} was removed while {self.path} was in use")
            connection = open_database(self.path, self._durability)
            opened = identity(self.path)
            if opened is not None and before in (None, opened):
                self._remember(opened)
                return connection
            connection.close()
        raise BrokerUnavailable(f"{self.path} is being replaced repeatedly")

    def exists(self) -> bool:
        """Return whether there is a file at the path."""
        return identity(self.path) is not None

    def written(self) -> object:
        """Return a value that differs after a write, if some time has passed since the last one."""
        try:
            log = os.stat(self._beside)  # noqa: PTH116 - called often, and several times faster than Path.stat
        except OSError:
            return None
        if log.st_mtime_ns % _SECOND == 0:
            return object()  # The file system stores whole seconds: it may have been written since.
        return log.st_mtime_ns, log.st_size, log.st_ino

    def in_place(self) -> bool:
        """Return whether the file and the log that were opened last are still at their paths."""
        if self.path == IN_MEMORY:
            return True
        if self._settled is not None and _state(self._directory) == self._settled:
            return True
        before, now = _state(self._directory), time.time_ns()
        in_place = identity(self.path) == self._file and identity(self._beside) == self._log
        self._settled = before if in_place and self._shows_changes(before, now) else None
        return in_place

    def _shows_changes(self, directory: tuple[int, int, int] | None, now: int) -> bool:
        """Return whether the directory will be in another state once a file in it is removed or replaced."""
        # The link last: it is looked at only if the directory vouches for the file from now on.
        return (
            directory is not None
            and directory[2] % _SECOND != 0
            and directory[2] + _SETTLED < now
            and not Path(self.path).is_symlink()
        )

    def leave(self, connection: sqlite3.Connection) -> None:
        """Close a connection whose file was removed or replaced."""
        if identity(self.path) == self._file and identity(self._beside) is None:
            # Only the log was removed: its contents can still be written to the file.
            with suppress(sqlite3.Error):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._closed_until = time.monotonic() + _REOPEN_DELAY
        connection.close()

    def forget(self) -> None:
        """Forget the file: the next `open` creates it if it is missing."""
        self._file = self._log = self._settled = None
        self._closed_until = 0.0

    def _remember(self, opened: Identity) -> None:
        if self._file not in (None, opened) and not self._quiet:
            log.warning(_REPLACED, self.path)
        self._file, self._log, self._settled = opened, identity(self._beside), None

    def _refuse_old_log(self) -> None:
        # SQLite would write the pages of the old file's log into the new file.
        if self._log is not None and identity(self._beside) == self._log:
            raise BrokerRefusedError(
                f"{self.path} was replaced, but {self._beside} belongs to the file before it: stop all "
                f"processes that use it, remove {self._beside} and {self.path}-shm, and replace it again"
            )


def identity(path: str) -> Identity | None:
    """Return the identity of the file at the path; None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called before and after each write
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _state(directory: str) -> tuple[int, int, int] | None:
    """Return the identity of a directory, and when a name in it was last added, removed or replaced."""
    try:
        found = os.stat(directory)  # noqa: PTH116 - as in `identity`
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def removed(path: str) -> str:
    """Return the message of an error about a file that was removed."""
    return (
        f"{path} was removed while it was in use: put it back, or restart the processes that use it "
        "to begin with an empty one"
    )


def _remove_leftovers(path: str) -> None:
    """Remove the write-ahead log and its index of a missing file: a new file must not use them."""
    for beside in (f"{path}-wal", f"{path}-shm"):
        left = identity(beside)
        # It existed before the file was found to be missing, so it does not belong to a new file.
        if left is not None and identity(path) is None and identity(beside) == left:
            Path(beside).unlink(missing_ok=True)
