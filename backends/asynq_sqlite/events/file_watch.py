"""Noticing what other processes do to the file: one thread for all who want to know."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from typing import TYPE_CHECKING, Final, Literal, Protocol

from attrs import frozen

from asynq.errors import AsynqError
from asynq.protocol.broker import CancelRequested, Event, Wake
from asynq_sqlite.store import forks, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq_sqlite.store.task_file import TaskFile

TICK: Final = 0.01
"""Seconds between two looks at the change counter."""
QUIET_TICK: Final = 0.025
"""The same once nothing has changed for a while."""
_QUIET_AFTER: Final = 0.25
"""Seconds without a change after which the time of the last write is looked at, instead of the counter. They
are more than systems round that time by, so that no later write can have the same."""
THOROUGH: Final = 8
"""So many looks at that time are followed by one at the counter, and at whether the file is in its place."""
_SHARE: Final = 4
"""Reading what changed takes at most one part in so many of the time, however much changes."""
_MANY: Final = 100
"""So many queues to wake for are told in one event that names none."""


_CANCELLED: Final = "SELECT queue, id, lease_token, cancel FROM tasks WHERE state = 'active' AND cancel != ''"


@frozen
class _Mark:
    """A cancellation recorded for a run."""

    queue: str
    task_id: str
    token: str
    then: Literal["archive", "retry"]


class Follower(Protocol):
    """Wants to know. Called from any thread, at most some times a second without a change."""

    @property
    def armed(self) -> bool:
        """Whether it wants to hear of queues."""
        ...

    def changed(self) -> None:
        """Something in the file may have changed."""
        ...

    def hear(self, events: Iterable[Event]) -> None:
        """Events, of whichever queues."""
        ...


class FileWatch:
    """A thread that looks at the file while there are followers, and tells them what changed.

    While nothing changes a look reads one counter and nothing else, whatever the number of queues, listeners
    and watchers.
    """

    def __init__(self, file: TaskFile) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._looking = threading.Lock()
        self._followers: weakref.WeakSet[Follower] = weakref.WeakSet()
        self._thread: threading.Thread | None = None
        self._asked = self._told = 0
        """How often a listener asked for a Wake, and which of these were answered."""
        self._seen: object = None
        """The change counter at the last look; None when that is not known."""
        self._changed_at = 0.0
        self._connection: sqlite3.Connection | None = None
        self._due: dict[str, int] = {}
        self._marks: set[_Mark] = set()
        forks.hold_still(self)

    def follow(self, follower: Follower, *, afresh: bool = False) -> None:
        """Tell this follower of changes from now on; `afresh`: with a Wake from when on they are told."""
        with self._lock:
            self._followers.add(follower)
            self._asked += afresh
            if self._thread is None:
                # Read here, not in the thread: what changes from now on has to show.
                with self._looking:
                    self._seen = self._version()
                self._thread = threading.Thread(target=self._run, name="asynq-sqlite-watch", daemon=True)
                self._thread.start()

    def leave(self, follower: Follower) -> None:
        """Tell it no more."""
        with self._lock:
            self._followers.discard(follower)

    def close(self) -> None:
        """End the thread and close the file."""
        with self._lock:
            self._followers.clear()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def pause(self) -> bool:
        """Do not look until `resume`; False when a look does not end."""
        return self._looking.acquire(timeout=1.0)

    def resume(self) -> None:
        """Go on after a `pause` that was True."""
        self._looking.release()

    # --- the thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (followers := self._present()) is not None:
            began = time.monotonic()
            with self._looking:
                self._look(followers)
            del followers
            ended = time.monotonic()
            if ended - self._changed_at < _QUIET_AFTER:
                time.sleep(max(TICK, _SHARE * (ended - began)))
            else:
                self._doze()

    def _doze(self) -> None:
        """Wait for a write, or for the next thorough look."""
        written = self._file.written()
        for _ in range(THOROUGH):
            time.sleep(QUIET_TICK)
            if self._asked != self._told or not self._followers or self._file.written() != written:
                return

    def _present(self) -> list[Follower] | None:
        """Who is to be told; None, and the thread ends, when there is nobody."""
        with self._lock:
            followers = list(self._followers)
            if not followers:
                self._thread = None
                with self._looking:
                    self._disconnect()
                return None
        return followers

    def _look(self, followers: list[Follower]) -> None:
        """Tell what changed since the last look."""
        asked, before, version = self._asked, self._seen, self._version()
        afresh = asked != self._told
        if version == before and not afresh:
            return
        wakes: list[Event] = [Wake()] if afresh else []
        cancelled: list[Event] = []
        try:
            if self._connection is not None:
                cancelled = self._cancelled(self._connection)
                if any(follower.armed for follower in followers):
                    queues = self._waking(self._connection)
                    wakes = wakes or _wakes(queues)
        except sqlite3.Error:
            self._disconnect()
            return
        if version != before:
            self._changed_at = time.monotonic()
        self._seen, self._told = version, asked
        for follower in followers:
            follower.hear([*wakes, *cancelled])
            if version != before:
                follower.changed()

    def _version(self) -> object:
        """The change counter; None when it cannot be read: whoever waits also polls, and is told why then."""
        try:
            connection = self._connected()
            return None if connection is None else connection.execute("PRAGMA data_version").fetchone()
        except (sqlite3.Error, AsynqError):
            self._disconnect()
            return None

    def _connected(self) -> sqlite3.Connection | None:
        if self._connection is not None and not self._file.in_place():
            self._disconnect()
        if self._connection is None and self._file.exists():
            self._connection = self._file.open()
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._file.leave(self._connection)
            self._connection = self._seen = None
            self._marks = set()

    def _cancelled(self, connection: sqlite3.Connection) -> list[Event]:
        """Runs that are to end, and were not before."""
        before, self._marks = self._marks, {_Mark(*row) for row in connection.execute(_CANCELLED)}
        return [CancelRequested(mark.task_id, mark.queue, mark.then) for mark in self._marks - before]

    def _waking(self, connection: sqlite3.Connection) -> set[str]:
        """Queues with tasks to take, or with another next due time than the one known."""
        newly_due = self._newly_due(connection)
        return newly_due.union(queue for queue, paused in connection.execute(sweep.READY) if not paused)

    def _newly_due(self, connection: sqlite3.Connection) -> set[str]:
        """Queues whose next due time is not the one known."""
        due: dict[str, int] = {}
        for statement in sweep.DUE:
            for queue, rank in connection.execute(statement):
                due[queue] = min(rank, due.get(queue, rank))
        changed = {queue for queue, rank in due.items() if rank != self._due.get(queue)}
        self._due = due
        return changed


def _wakes(queues: set[str]) -> list[Event]:
    return [Wake(queue) for queue in queues] if len(queues) <= _MANY else [Wake()]
