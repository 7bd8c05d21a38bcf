"""Forks: while a process forks, none of its connections is inside a transaction."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, Protocol


class Pausable(Protocol):
    """Uses SQLite on any thread, possibly while another thread forks."""

    def pause(self) -> bool:
        """Stop using SQLite until `resume`. Returns False if that takes too long."""
        ...

    def resume(self) -> None:
        """Continue after a `pause` that returned True."""
        ...


# SQLite keeps the locks that a process holds on a file in its memory. A child that is forked during a
# transaction inherits this state without the transaction: it would find the file locked forever.
_USERS: Final[weakref.WeakSet[Pausable]] = weakref.WeakSet()
_PAUSED: Final[list[Pausable]] = []
_FORKING: Final = threading.Lock()


def pause_during_forks(user: Pausable) -> None:
    """Pause this user of SQLite during every fork, as long as it exists."""
    _USERS.add(user)


def _before_fork() -> None:
    _FORKING.acquire()
    _PAUSED.extend(user for user in list(_USERS) if user.pause())


def _after_fork() -> None:
    while _PAUSED:
        _PAUSED.pop().resume()
    _FORKING.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
