"""Resources that must not be used across a fork, such as connections, threads and locks."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_INHERITED: Final[list[object]] = []
"""Resources of parent processes. Freeing them here could release what the parent still uses."""
_ALL: Final[weakref.WeakSet[PerProcess[Any]]] = weakref.WeakSet()


class PerProcess(Generic[T]):
    """One resource in each process, created on first use. Usable from any thread.

    A forked child creates its own resource. It neither uses nor frees the one of its parent.
    """

    def __init__(self, close: Callable[[T], object]) -> None:
        """Create the holder, without a resource.

        Args:
            close: Frees a resource. It must not refer to the owner of this object, so that the owner can be
                collected while this object waits to be closed.
        """
        self._close = close
        self._lock = threading.RLock()
        self._value: T | None = None
        _ALL.add(self)

    def get(self, create: Callable[[], T]) -> T:
        """Return the resource of this process; create it if there is none."""
        if (value := self._value) is not None:
            return value
        with self._lock:
            if self._value is None:
                self._value = create()
            return self._value

    def current(self) -> T | None:
        """Return the resource of this process; None if it has not been created."""
        return self._value

    def close(self) -> None:
        """Free the resource of this process, if there is one. The next `get` creates another."""
        with self._lock:
            value, self._value = self._value, None
        if value is not None:
            self._close(value)

    def forget(self) -> None:
        """Leave the resource to the parent process. Called in a forked child."""
        if self._value is not None:
            _INHERITED.append(self._value)
        self._value = None
        self._lock = threading.RLock()


def _forked() -> None:
    for holder in list(_ALL):
        holder.forget()


os.register_at_fork(after_in_child=_forked)
