"""Telling of changes to tasks: whoever waits is told of any change, and looks whether it was theirs."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq_sqlite.listener import TICK

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.per_loop import LoopState


class TaskWatcher:
    """See asynq.broker.Watcher. While anybody waits it looks every 10 ms at a counter of changes.

    `connect` opens the file, whose counter knows what other processes did; None: there are no others, and
    `changes` counts what this one did.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None, changes: Callable[[], int]) -> None:
        self._connect = connect
        self._changes = changes
        self._connection: sqlite3.Connection | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:  # noqa: ARG002 - see the module
        """See asynq.broker.Watcher."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        change.add_done_callback(self._waiting.discard)
        if self._looking is None or self._looking.done():
            # Read here, not in the task: what changes from now on has to show.
            self._looking = asyncio.create_task(self._look(self._version()), name="asynq-sqlite-watcher")
        self._waiting.add(change)
        return change

    async def aclose(self) -> None:
        """See asynq.broker.Watcher."""
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        self._tell()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def drop(self, loop: LoopState) -> None:
        """`aclose`, without waiting; see asynq.per_loop."""
        if self._looking is not None and loop == "running":
            self._looking.cancel()
        elif self._looking is not None:
            # It was left without a word by whoever closed the loop, or it goes on in the parent process.
            self._looking._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        # A connection that came through a fork must not be closed: that would release the parent's locks.
        if self._connection is not None and loop != "inherited":
            self._connection.close()
            self._connection = None

    async def _look(self, seen: object) -> None:
        while self._waiting:
            await asyncio.sleep(TICK)
            version = self._version()
            if version != seen or version is None:
                seen = version
                self._tell()

    def _version(self) -> object:
        """What differs when something has changed; None when that cannot be said."""
        if self._connect is None:
            return self._changes()
        try:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection.execute("PRAGMA data_version").fetchone()
        except (sqlite3.Error, AsynqError):
            return None

    def _tell(self) -> None:
        for change in list(self._waiting):
            if not change.done():
                change.set_result(None)
