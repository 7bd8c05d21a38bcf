"""Being told of new tasks: by this process at once, by others through the file's change counter."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Final

from asynq.broker import Event, Wake
from asynq.errors import AsynqError, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TICK: Final = 0.01
"""Seconds between two looks at the change counter: a look costs some microseconds."""
_READY: Final = (
    "SELECT EXISTS (SELECT 1 FROM tasks WHERE queue = ?1 AND state = 'pending')"
    " AND NOT EXISTS (SELECT 1 FROM paused WHERE queue = ?1)"
)
_NEXT_DUE: Final = "SELECT min(rank) FROM tasks WHERE queue = ?1 AND state = ?2"


class QueueListener:
    """A broker's events for one event loop. `connect` opens the file to watch; None: nobody else writes."""

    def __init__(self, connect: Callable[[], sqlite3.Connection] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._queues: frozenset[str] = frozenset()
        self._events: dict[Event, None] = {}
        self._news = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    async def arm(self, queues: Sequence[str]) -> None:
        """From now on tell of changes in these queues, beginning with one Wake."""
        self._refuse_if_closed()
        self._queues = frozenset(queues)
        self._add(Wake())
        await self._stop_watching()
        if self._connect is not None:
            self._watching = asyncio.create_task(self._watch(self._connect))

    async def disarm(self) -> None:
        """Tell of queues no more."""
        self._queues = frozenset()
        await self._stop_watching()

    async def next(self) -> Event:
        """The next event. BrokerUnavailable when the listener is closed."""
        while not self._events:
            self._refuse_if_closed()
            self._news.clear()
            await self._news.wait()
        event = next(iter(self._events))
        del self._events[event]
        return event

    async def aclose(self) -> None:
        """End the watch and whoever waits."""
        self._closed = True
        self._events.clear()
        self._news.set()
        await self.disarm()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def tell(self, event: Event) -> None:
        """Something happened in this process; from any thread."""
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._hear, event)

    def _hear(self, event: Event) -> None:
        if not isinstance(event, Wake) or event.queue in self._queues:
            self._add(event)

    def _add(self, event: Event) -> None:
        self._events[event] = None
        self._news.set()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    # --- other processes -------------------------------------------------------------------------------

    async def _watch(self, connect: Callable[[], sqlite3.Connection]) -> None:
        seen: object = None
        due: dict[str, int | None] = {}
        while True:
            try:
                if self._connection is None:
                    self._connection = connect()
                version = self._connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    for queue in self._queues:
                        self._look(self._connection, queue, due)
                    seen = version
            except (sqlite3.Error, AsynqError):
                seen = None  # Locked for a moment, or gone: the poll of whoever waits tells that.
            await asyncio.sleep(TICK)

    def _look(self, connection: sqlite3.Connection, queue: str, due: dict[str, int | None]) -> None:
        """Wake for tasks to take, and for an earlier due time than the one known."""
        (ready,) = connection.execute(_READY, (queue,)).fetchone()
        firsts = [
            connection.execute(_NEXT_DUE, (queue, state)).fetchone()[0] for state in ("scheduled", "retry")
        ]
        next_due = min((first for first in firsts if first is not None), default=None)
        if ready or next_due != due.get(queue, next_due):
            self._add(Wake(queue))
        due[queue] = next_due
