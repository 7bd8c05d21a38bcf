"""Detects what other processes did to the file: a change counter, and what to read once it has changed."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from asynq.brokerkit.events.poller import ChangeSource
from asynq.errors import AsynqError
from asynq.protocol.broker import CancelRequested, Event, Wake
from asynq_sqlite.store import forks, sweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_sqlite.store.task_file import TaskFile

_MAX_WAKES: Final = 100
"""If more queues are to be woken, one event without a name wakes all queues."""
_PAUSE_TIMEOUT: Final = 1.0
"""Seconds that a fork waits for a read to end."""
_CANCELLED: Final = "SELECT queue, id, lease_token, cancel FROM tasks WHERE state = 'active' AND cancel != ''"


@frozen
class _Cancellation:
    """A cancellation that is recorded for a run."""

    queue: str
    task_id: str
    token: str
    then: Literal["archive", "retry"]


class FileChanges(ChangeSource):
    """The changes of a file, read through a connection of its own.

    While nothing changes, only `PRAGMA data_version` is read, or only the time of the last write.
    """

    reports_cancellations = True

    def __init__(self, file: TaskFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._connections = 0
        """How many connections were opened: each counts changes in its own way."""
        self._due: dict[str, int] = {}
        self._cancellations: set[_Cancellation] = set()
        forks.pause_during_forks(self)

    def version(self) -> object:
        """Return the change counter; None if it cannot be read. Who waits also polls, and gets the error."""
        with self._lock:
            try:
                connection = self._connected()
                if connection is None:
                    return None
                return self._connections, connection.execute("PRAGMA data_version").fetchone()
            except (sqlite3.Error, AsynqError):
                self._disconnect()
                return None

    def written(self) -> object:
        """Return a value that differs after a write."""
        return self._file.written()

    def events(self, *, wakes: bool) -> Sequence[Event] | None:
        """Return wake-ups and cancellations that the changes brought."""
        with self._lock:
            if self._connection is None:
                return []
            try:
                events = self._cancelled(self._connection)
                if wakes:
                    events += _wakes(self._waking(self._connection))
            except sqlite3.Error:
                self._disconnect()
                return None
            return events

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._disconnect()

    def pause(self) -> bool:
        """Read nothing until `resume`. False if a read does not end."""
        return self._lock.acquire(timeout=_PAUSE_TIMEOUT)

    def resume(self) -> None:
        """Continue after a `pause` that returned True."""
        self._lock.release()

    def _connected(self) -> sqlite3.Connection | None:
        if self._connection is not None and not self._file.in_place():
            self._disconnect()
        if self._connection is None and self._file.exists():
            self._connection = self._file.open()
            self._connections += 1
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._file.leave(self._connection)
            self._connection = None
            self._cancellations = set()

    def _cancelled(self, connection: sqlite3.Connection) -> list[Event]:
        """Return the cancellations that were not recorded before."""
        before = self._cancellations
        self._cancellations = {_Cancellation(*row) for row in connection.execute(_CANCELLED)}
        return [CancelRequested(new.task_id, new.queue, new.then) for new in self._cancellations - before]

    def _waking(self, connection: sqlite3.Connection) -> set[str]:
        """Return the queues that have pending tasks, or whose next due time has changed."""
        newly_due = self._newly_due(connection)
        return newly_due.union(queue for queue, paused in connection.execute(sweep.READY_QUERY) if not paused)

    def _newly_due(self, connection: sqlite3.Connection) -> set[str]:
        due: dict[str, int] = {}
        for statement in sweep.DUE_QUERIES:
            for queue, rank in connection.execute(statement):
                due[queue] = min(rank, due.get(queue, rank))
        changed = {queue for queue, rank in due.items() if rank != self._due.get(queue)}
        self._due = due
        return changed


def _wakes(queues: set[str]) -> list[Event]:
    return [Wake(queue) for queue in queues] if len(queues) <= _MAX_WAKES else [Wake()]
