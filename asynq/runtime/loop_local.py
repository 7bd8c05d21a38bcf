"""One resource for each event loop, such as a connection pool. It is closed when its loop ends."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

T = TypeVar("T")

LoopState = Literal["running", "closed", "inherited"]
"""State of the event loop of a resource that is dropped.

running: this thread runs the loop. closed: the loop is closed. inherited: the loop belongs to the process
that this one was forked from."""

_INHERITED: Final[list[object]] = []
"""Objects that were inherited through a fork. Collecting them would wake the event loops of the parent."""


@runtime_checkable
class Droppable(Protocol):
    """A resource that can be freed without awaiting anything."""

    def drop(self, loop: LoopState) -> None:
        """Free it now. May use the loop only if it is `running`. Never raises. May be called repeatedly."""
        ...


class LoopLocal(Generic[T]):
    """One resource for each event loop that calls `get`. Usable from any thread, and after a fork.

    The resource of a loop is freed when the loop ends through `asyncio.run`, `asyncio.Runner` or
    `loop.shutdown_asyncgens()`. After a plain `loop.close()`, it is freed at the next use of this object on
    another loop, at `aclose`, or when this object is collected; this requires a Droppable resource. Other
    resources are freed only while their loop runs.

    Args:
        close: frees a resource, awaited on its loop. It must not reference the owner of this object.
    """

    def __init__(self, close: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        self._close = close
        self._kept = self._new_kept()

    def get(self, make: Callable[[], T]) -> T:
        """Return the resource of the running event loop. If there is none, make one."""
        loop = asyncio.get_running_loop()
        kept = self._of_process()
        # Without the lock: only a thread that runs this loop changes its entry while the loop is open.
        entry = kept.entries.get(loop)
        if entry is None:
            with kept.lock:
                kept.drop_closed()
                kept.entries[loop] = entry = _Entry(make())
                if loop not in kept.ended:
                    entry.end = _started(_end_with_loop(weakref.ref(kept), entry.value, self._close))
        found: T = entry.value
        return found

    async def aclose(self) -> None:
        """Free the resource of the running event loop and those of closed loops."""
        kept = self._of_process()
        with kept.lock:
            kept.drop_closed()
            entry = kept.entries.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            await self._close(entry.value)
            if entry.end is not None:
                await entry.end.aclose()

    def drop_closed(self) -> None:
        """Free the resources of closed loops."""
        kept = self._of_process()
        with kept.lock:
            kept.drop_closed()

    def _of_process(self) -> _Kept:
        if self._kept.pid != os.getpid():
            self._kept.finish()
            self._kept = self._new_kept()
        return self._kept

    def _new_kept(self) -> _Kept:
        kept = _Kept()
        weakref.finalize(self, kept.finish)
        return kept


@define(eq=False)
class _Entry:
    value: Any
    end: AsyncGenerator[None, None] | None = None
    """An asynchronous generator that the loop closes when it ends."""


@define(eq=False, weakref_slot=True)
class _Kept:
    """The resources of one process."""

    pid: int = field(factory=os.getpid)
    lock: threading.Lock = field(factory=threading.Lock)
    entries: dict[asyncio.AbstractEventLoop, _Entry] = field(factory=dict)
    ended: weakref.WeakSet[asyncio.AbstractEventLoop] = field(factory=weakref.WeakSet)
    """Loops that are about to be closed: they accept no further asynchronous generators."""

    def drop_closed(self) -> None:
        for loop in [loop for loop in self.entries if loop.is_closed()]:
            _drop(self.entries.pop(loop).value, "closed")

    def finish(self) -> None:
        """Free everything that no open loop frees. These resources are no longer used."""
        if self.pid == os.getpid():
            self.drop_closed()
            self.entries.clear()
            return
        for entry in self.entries.values():
            _drop(entry.value, "inherited")
        _INHERITED.append(self)


async def _end_with_loop(
    kept: weakref.ref[_Kept], value: T, close: Callable[[T], Coroutine[Any, Any, None]]
) -> AsyncGenerator[None, None]:
    """Free the value when the loop closes this generator, at its end or after collecting it."""
    pid = os.getpid()
    try:
        yield
    finally:
        loop, here = asyncio.get_running_loop(), kept()
        if here is not None and loop in here.entries:
            del here.entries[loop]
            here.ended.add(loop)
        if isinstance(value, Droppable):
            # This must be quick: a loop that ends does not wait for tasks that start now.
            value.drop("running" if os.getpid() == pid else "inherited")
            await asyncio.sleep(0)
        else:
            await close(value)


def _started(generator: AsyncGenerator[None, None]) -> AsyncGenerator[None, None] | None:
    """The generator, advanced to its `yield`. None if the running loop would not close it."""
    if sys.get_asyncgen_hooks().firstiter is None:
        return None
    first: Any = generator.__anext__()
    with suppress(StopIteration):
        first.send(None)
    return generator


def _drop(value: object, loop: LoopState) -> None:
    if isinstance(value, Droppable):
        value.drop(loop)
