"""Handles on what a process may open only once, such as the files of an embedded store."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

H = TypeVar("H")

# Reentrant, since what opens a handle may set off a finalizer that wants one.
_lock = threading.RLock()
_all: list[Handles[Any]] = []


class Handles(Generic[H]):
    """Open handles by name, each shared by all that hold it and dropped when nobody does any more.

    close: what ends a handle in a child that was forked; the child then opens its own.
    """

    def __init__(self, close: Callable[[H], object]) -> None:
        self._close = close
        self._open: weakref.WeakValueDictionary[str, H] = weakref.WeakValueDictionary()
        _all.append(self)

    def get(self, name: str, opened: Callable[[], H]) -> H:
        """The handle of this name, opened unless it is open in this process already."""
        with _lock:
            if (handle := self._open.get(name)) is None:
                handle = self._open[name] = opened()
            return handle

    def forget(self) -> None:
        """Close what came along through a fork."""
        for handle in list(self._open.values()):
            self._close(handle)
        self._open.clear()


def _forked() -> None:
    for handles in _all:
        handles.forget()
    _lock.release()


# Nothing is half open at the instant of a fork.
os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
