"""Transactions: operations in, answers out, over one connection that belongs to one process."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq.errors import (
    AsynqError,
    BrokerFullError,
    BrokerUnavailable,
    UnsupportedOperationError,
)
from asynq.protocol.ops import Op
from asynq_sqlite.operations.handlers import HANDLERS
from asynq_sqlite.store import forks, free_space, sweep
from asynq_sqlite.store.faults import REFUSED_VALUES, is_busy, is_full, refused_value, translated
from asynq_sqlite.store.task_file import TaskFile

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq_sqlite.store.schema import Durability
    from asynq_sqlite.store.store import Store

MAX_TRANSACTION: Final = 500
"""Most operations in one transaction: about 20 ms during which no other process writes."""
_LONGEST_WAIT: Final = 0.001
"""Seconds between two tries for the write lock: whoever waits longer starves beside a busy process."""

Announce = Callable[[Sequence[Op[Any]], Sequence[Any]], None]


@frozen(kw_only=True)
class Settings:
    """What a broker was constructed with."""

    backend: str
    path: str
    clock: Clock
    durability: Durability
    budget: float
    """Seconds to wait for other processes."""
    max_size: int | None
    """Bytes tasks may fill before enqueues are refused."""
    max_value_bytes: int
    """Most bytes of a payload with its headers, and of a result."""
    store: Callable[[sqlite3.Connection], Store]


class Engine:
    """Executes operations in transactions. Usable from any thread of the process that made it."""

    def __init__(self, settings: Settings, announce: Announce) -> None:
        self.pid = os.getpid()
        self._settings = settings
        self._file = TaskFile(settings.path, settings.durability)
        self._announce = announce
        self._lock = threading.Lock()
        self._wanted: Callable[[], bool] = bool
        self._store: Store | None = None
        forks.hold_still(self)

    def run(self, ops: Sequence[Op[Any]], wanted: Callable[[], bool] = lambda: True) -> list[Any]:
        """The answers in order, an AsynqError in the place of one that was refused.

        No transaction is waited for any longer once the answers are not `wanted`.
        BrokerUnavailable or BrokerRefusedError when the database cannot be used.
        """
        answers: list[Any] = []
        with self._exclusive(wanted):
            for upkeep, part in sweep.runs(ops):
                try:
                    answers += self._sweep(part) if upkeep else self._in_turn(part)
                except BrokerUnavailable as error:
                    raise BrokerUnavailable(error.reason, error.maybe_applied or bool(answers)) from None
        self._announce(ops, answers)
        return answers

    def close(self) -> None:
        """Close the connection; the next operation opens it again."""
        if self.pid != os.getpid():
            forks.keep(self._store)
            return
        with self._lock:
            self._drop()
            self._file.forget()

    def pause(self) -> bool:
        """Begin no transaction until `resume`; True when none is open, False when one does not end."""
        return self._lock.acquire(timeout=self._settings.budget)

    def resume(self) -> None:
        """Go on after a `pause` that was True."""
        self._lock.release()

    @contextmanager
    def _exclusive(self, wanted: Callable[[], bool]) -> Iterator[None]:
        if not self._lock.acquire(timeout=self._settings.budget):
            raise BrokerUnavailable(f"{self._settings.path} is kept busy by other threads")
        self._wanted = wanted
        try:
            yield
        finally:
            # An idle engine keeps nobody's operations alive.
            self._wanted = bool
            self._lock.release()

    def _sweep(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """Upkeep of many queues, of which only those are attended to that have something to do."""
        store = self._begin(reading=True)
        try:
            answers = sweep.look(store, ops, self._settings.clock.now())
        except sqlite3.Error as error:
            return self._failed(store, ops, error, committing=False)
        finally:
            self._rollback(store)
        rest = iter(self._in_turn([op for op, answer in zip(ops, answers, strict=True) if answer is None]))
        return [next(rest) if answer is None else answer for answer in answers]

    def _in_turn(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The answers of one transaction after the other."""
        answers: list[Any] = []
        for start in range(0, len(ops), MAX_TRANSACTION):
            try:
                answers += self._transact(ops[start : start + MAX_TRANSACTION])
            except BrokerUnavailable as error:
                raise BrokerUnavailable(error.reason, error.maybe_applied or start > 0) from None
        return answers

    # --- one transaction -------------------------------------------------------------------------------

    def _transact(self, ops: Sequence[Op[Any]]) -> list[Any]:
        store = self._begin(reading=all(op.read_only for op in ops))
        try:
            # After the wait for other writers: an instant from before it may be older than theirs.
            now = self._settings.clock.now()
            answers = [self._answer(store, op, now) for op in ops]
        except sqlite3.Error as error:
            return self._failed(store, ops, error, committing=False)
        except BaseException:
            self._rollback(store)
            raise
        try:
            store.connection.execute("COMMIT")
        except sqlite3.Error as error:
            return self._failed(store, ops, error, committing=True)
        if not all(op.read_only for op in ops) and not self._file.in_place():
            self._leave(store)
            raise BrokerUnavailable(
                f"{self._settings.path} was removed or replaced while it was written", maybe_applied=True
            )
        return answers

    def _answer(self, store: Store, op: Op[Any], now: int) -> Any:
        handler = HANDLERS.get(type(op))
        if handler is None:
            return UnsupportedOperationError(type(op).__name__, self._settings.backend)
        store.connection.execute("SAVEPOINT op")
        try:
            store.check_size(op)
            answer = free_space.within(store, op, lambda: handler(store, op, now))
        except AsynqError as error:
            answer = error.with_traceback(None)
        except REFUSED_VALUES as error:
            answer = refused_value(op, error)
        else:
            store.connection.execute("RELEASE op")
            return answer
        store.connection.execute("ROLLBACK TO op")
        store.connection.execute("RELEASE op")
        return answer

    def _failed(
        self, store: Store, ops: Sequence[Op[Any]], error: sqlite3.Error, *, committing: bool
    ) -> list[Any]:
        """The transaction as a whole failed: nothing of it is left. Room may still be found one by one."""
        self._rollback(store)
        if not is_full(error):
            self._drop()
            raise translated(error, self._settings.path, committing=committing)
        if len(ops) == 1:
            return [BrokerFullError(f"{self._settings.path}: {error}")]
        return [answer for op in ops for answer in self._transact([op])]

    def _rollback(self, store: Store) -> None:
        # Some errors make SQLite roll back by itself.
        if store.connection.in_transaction:
            store.connection.execute("ROLLBACK")

    # --- beginning -------------------------------------------------------------------------------------

    def _begin(self, *, reading: bool) -> Store:
        """An open transaction, waited for within the budget."""
        deadline = time.monotonic() + self._settings.budget
        for attempt in itertools.count():
            try:
                store = self._try_begin(reading=reading)
                if self._file.in_place():
                    return store
                self._leave(store)
            except sqlite3.Error as error:
                if not is_busy(error) or time.monotonic() >= deadline or not self._wanted():
                    raise translated(error, self._settings.path) from error
            time.sleep(min(0.0002 * 2 ** min(attempt, 10), _LONGEST_WAIT))
        raise AssertionError("unreachable")

    def _try_begin(self, *, reading: bool) -> Store:
        settings = self._settings
        if self._store is None:
            self._store = settings.store(self._file.open())
            self._store.max_size = settings.max_size
            self._store.max_value_bytes = settings.max_value_bytes
        store = self._store
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

    def _leave(self, store: Store) -> None:
        """Close a file that is not in its place any more; what is done next opens the one that is."""
        self._store = None
        self._rollback(store)
        self._file.leave(store.connection)

    def _drop(self) -> None:
        if self._store is not None:
            self._store.connection.close()
            self._store = None
