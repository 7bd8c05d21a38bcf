"""Forks: no transaction of this process is under way then, and a child leaves alone what it inherits."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, Protocol


class Pausable(Protocol):
    """Uses SQLite, from a thread that a fork may meet at any point."""

    def pause(self) -> bool:
        """Use it no more until `resume`; False when that cannot be waited for."""
        ...

    def resume(self) -> None:
        """Go on after a `pause` that was True."""
        ...


# SQLite notes in the memory of a process which locks it holds on a file. A child forked in the middle of a
# transaction inherits the note and not the transaction: for it the file would be locked for ever.
_USERS: Final[weakref.WeakSet[Pausable]] = weakref.WeakSet()
_PAUSED: Final[list[Pausable]] = []
_FORKING: Final = threading.Lock()


def pause_during_forks(user: Pausable) -> None:
    """Pause this user of SQLite during every fork from now on."""
    _USERS.add(user)


def _before_fork() -> None:
    _FORKING.acquire()
    _PAUSED.extend(user for user in list(_USERS) if user.pause())


def _after_fork() -> None:
    while _PAUSED:
        _PAUSED.pop().resume()
    _FORKING.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
