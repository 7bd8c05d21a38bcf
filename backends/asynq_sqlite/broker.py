"""SQLiteBroker and MemoryBroker: one database, in a file or in memory."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynq.brokerkit.base import CalledBroker
from asynq.brokerkit.batches import batches, blocking, transact_in_turn
from asynq.brokerkit.per_process import PerProcess
from asynq.checks import check_duration, check_positive
from asynq.clock import Clock, SystemClock
from asynq.errors import BrokerRefusedError
from asynq.protocol.broker import Capabilities
from asynq.protocol.value_sizes import MAX_VALUE_BYTES, check_max_value_bytes
from asynq.runtime.sync_async import completed
from asynq_sqlite.database import Database, DatabaseSettings
from asynq_sqlite.events.file_changes import FileChanges
from asynq_sqlite.operations.attempt import HalfDoneError
from asynq_sqlite.operations.execution import carry_out, carry_out_singly
from asynq_sqlite.store import sweep
from asynq_sqlite.store.schema import IN_MEMORY, Durability
from asynq_sqlite.store.task_file import TaskFile
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from asynq.protocol.ops import Op

StoreFactory = Callable[[sqlite3.Connection], TaskStore]


class _DatabaseBroker(CalledBroker):
    """What brokers on a file and in memory have in common."""

    def __init__(self, capabilities: Capabilities, clock: Clock | None, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._databases: PerProcess[Database] = PerProcess(Database.close)
        weakref.finalize(self, self._databases.close)
        super().__init__(capabilities, clock)

    def parts(self, ops: Sequence[Op[Any]]) -> Iterable[Sequence[Op[Any]]]:
        """Keep upkeep of many queues together: `transact` first reads which of them have something to do."""
        return sweep.parts(ops, self.max_batch)

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        """See CalledBroker. Waits for other processes, up to the budget."""
        if not sweep.is_upkeep(ops):
            return self._carry_out(ops)
        answers = self._database().idle_answers(ops)
        rest = [op for op, answer in zip(ops, answers, strict=True) if answer is None]
        transact = blocking(self._carry_out)
        attended = iter(completed(transact_in_turn(batches(rest, self.max_batch), transact)))
        return [next(attended) if answer is None else answer for answer in answers]

    def _carry_out(self, ops: Sequence[Op[Any]]) -> list[Any]:
        database = self._database()
        try:
            return database.transact(ops, self._answers)
        except HalfDoneError:
            return database.transact(ops, self._answers_singly)

    def close_store(self) -> None:
        """Close the connection."""
        if (database := self._databases.current()) is not None:
            database.close()

    def _database(self) -> Database:
        return self._databases.get(self._open_database)

    def _open_database(self) -> Database:
        return Database(self._settings)

    def _answers(self, store: TaskStore, ops: Sequence[Op[Any]], now: int) -> list[Any]:
        return self.answer_all(ops, lambda allowed: carry_out(store, allowed, now))

    def _answers_singly(self, store: TaskStore, ops: Sequence[Op[Any]], now: int) -> list[Any]:
        return self.answer_all(ops, lambda allowed: carry_out_singly(store, allowed, now))


class SQLiteBroker(_DatabaseBroker):
    """Stores tasks durably in a SQLite file, which any number of processes of one machine can share.

    An acknowledged write survives the death of all processes. With `durability="power"`, the default, it also
    survives a loss of power: SQLite flushes its write-ahead log at every commit. All operations of a batch,
    and all callers of a process that wait at the same time, share one flush. With `durability="process"` the
    operating system decides when to flush, which makes single operations many times faster. A crash of the
    machine may then lose the last writes, but never damages the file.

    The broker can be used from any thread and event loop, and after a fork. It can be pickled.

    Args:
        path: The file, on a local disk. It is created if it is missing; its directory must exist.
        clock: The time that operations go by. None: the clock of this machine.
        durability: What an acknowledged write survives: "power" or "process".
        budget: How long an operation waits for other processes before it raises BrokerUnavailable.
        max_size: Number of bytes that tasks may fill. Beyond it, enqueues and longer payloads raise
            BrokerFullError; all other operations continue. Settlements may let the file grow further: a
            full file keeps only the beginning of errors, and refuses results once they fill a reserve of a
            quarter of `max_size` and 256 KiB. None: no limit but the disk.
        max_value_bytes: Largest number of bytes of a payload with its headers, and of a result. Larger values
            raise PayloadTooLargeError or ResultTooLargeError. SQLite itself limits a task with its result to
            1 GB.
        create: False: a missing file is not created, and operations raise BrokerRefusedError.
        store: Creates the steps that operations consist of. For tests.

    Raises:
        ValueError: An argument is invalid, or `path` is a URL.

    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        durability: Durability = "power",
        budget: timedelta = timedelta(seconds=5),
        max_size: int | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        create: bool = True,
        store: StoreFactory = TaskStore,
    ) -> None:
        if not os.fspath(path) or os.fspath(path) == IN_MEMORY:
            raise ValueError(f"path must name a file, not {os.fspath(path)!r}; in memory: MemoryBroker()")
        if "://" in os.fspath(path):
            raise ValueError(f"path is a URL, not a path; use asynq.connect({os.fspath(path)!r})")
        if durability not in ("power", "process"):
            raise ValueError(f"durability must be 'power' or 'process', not {durability!r}")
        check_duration("budget", budget)
        if max_size is not None:
            check_positive("max_size", max_size)
        check_max_value_bytes(max_value_bytes)
        settings = DatabaseSettings(
            path=str(Path(path).absolute()),
            clock=clock or SystemClock(),
            durability=durability,
            budget=min(budget.total_seconds(), threading.TIMEOUT_MAX),
            max_size=max_size,
            max_value_bytes=max_value_bytes,
            create=create,
            store=store,
        )
        capabilities = Capabilities(
            backend="sqlite",
            durability=durability,
            multi_process=True,
            concurrent_calls=False,
            max_value_bytes=max_value_bytes,
        )
        super().__init__(capabilities, clock, settings)

    def change_source(self) -> FileChanges:
        """See CalledBroker: other processes change the same file."""
        settings = self._settings
        return FileChanges(TaskFile(settings.path, settings.durability, create=settings.create, quiet=True))

    def __repr__(self) -> str:
        return f"SQLiteBroker({self._settings.path!r}, durability={self._settings.durability!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        settings = self._settings
        options = {
            "clock": self.clock,
            "durability": settings.durability,
            "budget": timedelta(seconds=settings.budget),
            "max_size": settings.max_size,
            "max_value_bytes": settings.max_value_bytes,
            "create": settings.create,
            "store": settings.store,
        }
        return _reopened, (settings.path, options)


def _reopened(path: str, options: dict[str, Any]) -> SQLiteBroker:
    return SQLiteBroker(path, **options)


class MemoryBroker(_DatabaseBroker):
    """Stores tasks in the memory of this process while the broker exists: for tests and first steps.

    Operations are executed as by SQLiteBroker, on a database without a file. `close` stops the thread of
    async callers and keeps the tasks. In a forked child, operations raise BrokerRefusedError: the child has
    only a copy of the tasks.

    Args:
        clock: The time that operations go by. None: the clock of this machine.
        max_value_bytes: As for SQLiteBroker.
        store: As for SQLiteBroker.

    Raises:
        ValueError: `max_value_bytes` is not positive.

    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        store: StoreFactory = TaskStore,
    ) -> None:
        check_max_value_bytes(max_value_bytes)
        settings = DatabaseSettings(
            path=IN_MEMORY,
            clock=clock or SystemClock(),
            durability="process",
            budget=5,
            max_size=None,
            max_value_bytes=max_value_bytes,
            store=store,
        )
        capabilities = Capabilities(
            backend="memory",
            durability="none",
            multi_process=False,
            concurrent_calls=False,
            max_value_bytes=max_value_bytes,
        )
        super().__init__(capabilities, clock, settings)
        self._pid = os.getpid()

    def change_source(self) -> None:
        """See CalledBroker: there are no other processes."""
        self._refuse_after_fork()

    def close_store(self) -> None:
        """Keep the tasks."""

    def __repr__(self) -> str:
        return f"<MemoryBroker at {id(self):#x}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a MemoryBroker cannot be pickled: its tasks live in this process only")

    def _database(self) -> Database:
        self._refuse_after_fork()
        return super()._database()

    def _refuse_after_fork(self) -> None:
        if self._pid != os.getpid():
            raise BrokerRefusedError("a memory broker belongs to the process that made it; use SQLiteBroker")
