"""The embedded brokers: both faces over one engine per process."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from asynq.checks import check_duration
from asynq.clock import Clock, SystemClock
from asynq.errors import AsynqError, BrokerRefusedError
from asynq.protocol.answers import unwrap
from asynq.protocol.broker import Capabilities
from asynq.protocol.value_sizes import MAX_VALUE_BYTES, check_max_value_bytes
from asynq.runtime.threads import in_own_thread
from asynq_sqlite.engine import Engine, Settings
from asynq_sqlite.events.file_watch import FileWatch
from asynq_sqlite.events.listener import QueueListener
from asynq_sqlite.events.news import News
from asynq_sqlite.events.watcher import TaskWatcher
from asynq_sqlite.store import forks
from asynq_sqlite.store.schema import MEMORY, Durability
from asynq_sqlite.store.store import Store
from asynq_sqlite.store.task_file import TaskFile
from asynq_sqlite.transaction_thread import Worker

if TYPE_CHECKING:
    from asynq.protocol.broker import Listener, Watcher
    from asynq.protocol.ops import Op

T = TypeVar("T")

StoreFactory = Callable[[sqlite3.Connection], Store]


class _Process:
    """What a broker holds in one process; a fork begins with a new one."""

    def __init__(self, settings: Settings) -> None:
        self.news = News(_watch(settings))
        self.engine = Engine(settings, self.news.announce)
        self.worker = Worker(self.engine.run)

    def close(self) -> None:
        if self.engine.pid == os.getpid():
            self.worker.stop()
            self.news.close()
        else:
            forks.keep(self)
        self.engine.close()


def _watch(settings: Settings) -> FileWatch | None:
    """What sees the changes of other processes; None where there are no others."""
    if settings.path == MEMORY:
        return None
    return FileWatch(TaskFile(settings.path, settings.durability, quiet=True))


class _EmbeddedBroker:
    """Both faces, and what a fork asks for."""

    def __init__(self, settings: Settings, clock: Clock | None) -> None:
        self._settings = settings
        self._clock = clock
        self._process = self._begin()

    @property
    def clock(self) -> Clock | None:
        """The clock operations go by; None: this machine's."""
        return self._clock

    def execute(self, op: Op[T], /) -> T:
        """Carry out one operation and answer, or raise its error."""
        return cast("T", unwrap(self.execute_many([op])[0]))

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """Carry out operations in order, up to 500 of them in one transaction."""
        return self._here().engine.run(ops)

    async def aexecute(self, op: Op[T], /) -> T:
        """`execute`, awaited."""
        return cast("T", unwrap((await self.aexecute_many([op]))[0]))

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """`execute_many`, awaited: what several callers wait for shares a transaction."""
        return await self._here().worker.submit(ops)

    def close(self) -> None:
        """Free thread and connection. Using the broker again opens them again."""
        self._here().close()

    async def aclose(self) -> None:
        """`close`, awaited."""
        await in_own_thread(self.close)

    def listener(self) -> Listener:
        """A stream of this broker's events, for the running event loop."""
        return QueueListener(self._here().news)

    def watcher(self) -> Watcher:
        """Tells of changes to single tasks, for the running event loop."""
        return TaskWatcher(self._here().news)

    def _begin(self) -> _Process:
        process = _Process(self._settings)
        weakref.finalize(self, process.close)
        return process

    def _here(self) -> _Process:
        """What belongs to this process: a connection must never be used across a fork."""
        if self._process.engine.pid != os.getpid():
            self._process = self._begin()
        return self._process


class SQLiteBroker(_EmbeddedBroker):
    """Keeps tasks in a SQLite file: durable on one machine, shared by any number of its processes.

    An acknowledged write survives kill -9 in any case, and by default (`durability="power"`) also the loss of
    power: SQLite then flushes its write-ahead log at every commit, which costs a disk flush, shared by all
    operations of a batch and by all awaiting callers. `durability="process"` leaves flushing to the operating
    system: many times faster for single operations; a crash of the machine may then lose the last writes,
    never the file's consistency.

    path: the file, made if there is none (its directory must exist). It must be on a local disk.
    clock: what operations go by, None for this machine's clock.
    budget: how long an operation waits for other processes before it raises BrokerUnavailable.
    max_size: bytes tasks may fill; then enqueues and longer payloads raise BrokerFullError, all else goes on.
    What settles tasks may make the file larger than that: of errors a full file keeps the beginning, and
    results are refused once they fill a quarter of max_size and 256 KiB beyond it.
    max_value_bytes: most bytes of a payload with its headers, and of a result; a larger one is refused. The
    limit of SQLite itself is 1 GB for a task with its result.
    store: what makes the steps operations consist of.
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
        store: StoreFactory = Store,
    ) -> None:
        if not os.fspath(path) or os.fspath(path) == MEMORY:
            raise ValueError(f"path must name a file, not {os.fspath(path)!r}; in memory: MemoryBroker()")
        if "://" in os.fspath(path):
            raise ValueError(f"path is a URL, not a path; use asynq.connect({os.fspath(path)!r})")
        if durability not in ("power", "process"):
            raise ValueError(f"durability must be 'power' or 'process', not {durability!r}")
        check_duration("budget", budget)
        if max_size is not None and max_size <= 0:
            raise ValueError(f"max_size must be positive, not {max_size!r}")
        check_max_value_bytes(max_value_bytes)
        settings = Settings(
            backend="sqlite",
            path=str(Path(path).absolute()),
            clock=clock or SystemClock(),
            durability=durability,
            budget=min(budget.total_seconds(), threading.TIMEOUT_MAX),
            max_size=max_size,
            max_value_bytes=max_value_bytes,
            store=store,
        )
        super().__init__(settings, clock)

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        settings = self._settings
        return Capabilities(
            backend="sqlite",
            durability=settings.durability,
            multi_process=True,
            max_value_bytes=settings.max_value_bytes,
        )

    def __repr__(self) -> str:
        return f"SQLiteBroker({self._settings.path!r}, durability={self._settings.durability!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        settings = self._settings
        options = {
            "clock": self._clock,
            "durability": settings.durability,
            "budget": timedelta(seconds=settings.budget),
            "max_size": settings.max_size,
            "max_value_bytes": settings.max_value_bytes,
            "store": settings.store,
        }
        return _reopened, (settings.path, options)


def _reopened(path: str, options: dict[str, Any]) -> SQLiteBroker:
    return SQLiteBroker(path, **options)


class MemoryBroker(_EmbeddedBroker):
    """Keeps tasks in the memory of this process, as long as the broker lives: for tests and for trying out.

    The operations are those of SQLiteBroker, on a database without a file. `close` frees the thread and keeps
    the tasks. A forked child is refused: it would work on a copy.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        store: StoreFactory = Store,
    ) -> None:
        """`max_value_bytes` as SQLiteBroker's."""
        check_max_value_bytes(max_value_bytes)
        settings = Settings(
            backend="memory",
            path=MEMORY,
            clock=clock or SystemClock(),
            durability="process",
            budget=5,
            max_size=None,
            max_value_bytes=max_value_bytes,
            store=store,
        )
        super().__init__(settings, clock)

    @property
    def capabilities(self) -> Capabilities:
        """What this broker can do."""
        return Capabilities(
            backend="memory",
            durability="none",
            multi_process=False,
            max_value_bytes=self._settings.max_value_bytes,
        )

    def close(self) -> None:
        """Free the thread; the tasks stay."""
        self._here().worker.stop()

    def __repr__(self) -> str:
        return f"<MemoryBroker at {id(self):#x}>"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a MemoryBroker cannot be pickled: its tasks live in this process only")

    def _here(self) -> _Process:
        if self._process.engine.pid != os.getpid():
            raise BrokerRefusedError("a memory broker belongs to the process that made it; use SQLiteBroker")
        return self._process
