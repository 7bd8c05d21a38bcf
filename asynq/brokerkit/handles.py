"""Handles of resources that a process may open only once, such as the files of some embedded stores."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

H = TypeVar("H")

# Reentrant: opening a handle may run a finalizer that needs another.
_lock = threading.RLock()
_all: list[Handles[Any]] = []


class Handles(Generic[H]):
    """Open handles by name. All users in a process share a handle, which is dropped with its last user.

    Args:
        close: Closes a handle. It is called only in a forked child, which then opens its own handles.

    """

    def __init__(self, close: Callable[[H], object]) -> None:
        self._close = close
        self._open: weakref.WeakValueDictionary[str, H] = weakref.WeakValueDictionary()
        _all.append(self)

    def get(self, name: str, opened: Callable[[], H]) -> H:
        """Return the handle of this name; open it with `opened` unless it is open in this process."""
        with _lock:
            if (handle := self._open.get(name)) is None:
                handle = self._open[name] = opened()
            return handle

    def forget(self) -> None:
        """Close inherited handles. Called in a forked child."""
        for handle in list(self._open.values()):
            self._close(handle)
        self._open.clear()


def _forked() -> None:
    for handles in _all:
        handles.forget()
    _lock.release()


# The lock is held during a fork, so no handle is half open in the child.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
