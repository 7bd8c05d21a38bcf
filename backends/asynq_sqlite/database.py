"""Transactions: one connection to the database in each process, and one transaction at a time on it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq.brokerkit.group_commit import is_abandoned
from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.ops import Op
from asynq_sqlite.store import forks, sweep
from asynq_sqlite.store.sqlite_errors import is_busy, is_full, translated
from asynq_sqlite.store.task_file import TaskFile

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq_sqlite.store.schema import Durability
    from asynq_sqlite.store.task_store import TaskStore

_MIN_LOCK_INTERVAL: Final = 0.0001
_MAX_LOCK_INTERVAL: Final = 0.001
"""Seconds between two attempts to get the write lock. With a longer one, a busy process starves others."""
_LOCK_INTERVALS: Final = 50
"""A wait is divided into about this many attempts: a process that writes without pause releases the lock for
a tenth of a millisecond at a time."""

_READ_ONLY = attrgetter("read_only")
CarryOut = Callable[["TaskStore", Sequence[Op[Any]], int], list[Any]]
"""Carries out operations in an open transaction, at an instant in Unix milliseconds."""


@frozen(kw_only=True)
class DatabaseSettings:
    """The options of a broker."""

    path: str
    clock: Clock
    durability: Durability
    budget: float
    """Seconds to wait for other processes."""
    max_size: int | None
    """Number of bytes that tasks may fill before enqueues are refused."""
    max_value_bytes: int
    """Largest number of bytes of a payload with its headers, and of a result."""
    create: bool = True
    """Whether a missing file is created."""
    store: Callable[[sqlite3.Connection], TaskStore]


class Database:
    """The connection of a process. Usable from any of its threads."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._file = TaskFile(settings.path, settings.durability, create=settings.create)
        self._lock = threading.Lock()
        self._store: TaskStore | None = None
        forks.pause_during_forks(self)

    def transact(self, ops: Sequence[Op[Any]], carry_out: CarryOut) -> list[Any]:
        """Return the answers of `carry_out`, called once in a transaction and then committed.

        Raises:
            BrokerFullError: There is no space; nothing of the transaction remains.
            BrokerUnavailable: The database was locked for longer than the budget, or its file is gone.
            BrokerRefusedError: The file cannot be used.
        """
        reading = all(map(_READ_ONLY, ops))
        self._acquire()
        try:
            store = self._begin(reading=reading)
            try:
                # Read after the wait for other writers: an earlier instant may be older than theirs.
                answers = carry_out(store, ops, self._settings.clock.now())
            except sqlite3.Error as error:
                raise self._failed(store, error) from error
            except BaseException:
                self._rollback(store)
                raise
            self._commit(store, reading=reading)
            return answers
        finally:
            self._lock.release()

    def idle_answers(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """Return the answers to upkeep that finds nothing to do, None in place of the others.

        All queues are read at once, without the write lock. Errors are those of `transact`.
        """
        self._acquire()
        try:
            store = self._begin(reading=True)
            try:
                return sweep.idle_answers(store, ops, self._settings.clock.now())
            except sqlite3.Error as error:
                raise self._failed(store, error) from error
            finally:
                self._rollback(store)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the connection; the next transaction opens it again."""
        with self._lock:
            self._drop()
            self._file.forget()

    def pause(self) -> bool:
        """Begin no transaction until `resume`. False if one does not end."""
        return self._lock.acquire(timeout=self._settings.budget)

    def resume(self) -> None:
        """Continue after a `pause` that returned True."""
        self._lock.release()

    def _acquire(self) -> None:
        if not self._lock.acquire(timeout=self._settings.budget):
            raise BrokerUnavailable(f"{self._settings.path} is kept busy by other threads")

    def _commit(self, store: TaskStore, *, reading: bool) -> None:
        try:
            store.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(store, error, committing=True) from error
        if not reading and not self._file.in_place():
            self._leave(store)
            raise BrokerUnavailable(
                f"{self._settings.path} was removed or replaced while it was written", maybe_applied=True
            )

    def _failed(self, store: TaskStore, error: sqlite3.Error, *, committing: bool = False) -> AsynqError:
        """Undo the transaction and return the error to raise."""
        self._rollback(store)
        if not is_full(error):
            self._drop()
        return translated(error, self._settings.path, committing=committing)

    def _rollback(self, store: TaskStore) -> None:
        # After some errors SQLite has rolled back by itself, and `_drop` has closed the connection.
        if self._store is store and store.connection.in_transaction:
            store.connection.execute("ROLLBACK")

    # --- beginning -------------------------------------------------------------------------------------

    def _begin(self, *, reading: bool) -> TaskStore:
        """Open a transaction; wait for other processes within the budget."""
        began = time.monotonic()
        while True:
            try:
                store = self._try_begin(reading=reading)
                if self._file.in_place():
                    return store
                self._leave(store)
            except sqlite3.Error as error:
                waited = time.monotonic() - began
                if not is_busy(error) or waited >= self._settings.budget or is_abandoned():
                    raise translated(error, self._settings.path) from error
            waited = time.monotonic() - began
            time.sleep(min(max(waited / _LOCK_INTERVALS, _MIN_LOCK_INTERVAL), _MAX_LOCK_INTERVAL))

    def _try_begin(self, *, reading: bool) -> TaskStore:
        settings = self._settings
        if self._store is None:
            self._store = settings.store(self._file.open())
            self._store.max_size = settings.max_size
        store = self._store
        store.forget()
        if reading:
            store.connection.execute("BEGIN")
            # Only the first read takes the snapshot, and may find the file locked.
            try:
                store.connection.execute("SELECT 1 FROM paused LIMIT 1").fetchone()
            except sqlite3.Error:
                self._rollback(store)
                raise
        else:
            store.connection.execute("BEGIN IMMEDIATE")
        return store

    def _leave(self, store: TaskStore) -> None:
        """Close a file that was removed or replaced; the next transaction opens the one at the path."""
        self._rollback(store)
        self._store = None
        self._file.leave(store.connection)

    def _drop(self) -> None:
        if self._store is not None:
            self._store.connection.close()
            self._store = None
