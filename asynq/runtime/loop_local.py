"""Resources that belong to event loops: one for each loop, freed at the latest when the loop ends."""

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
"""The event loop of a resource that is dropped: it is run by this thread, closed, or that of the process this
one was forked from."""

_INHERITED: Final[list[object]] = []
"""What came through a fork. To collect it would wake the event loops of the parent process."""


@runtime_checkable
class Droppable(Protocol):
    """A resource that can be freed without waiting."""

    def drop(self, loop: LoopState) -> None:
        """Free it now. Only a `running` loop may be used for that. Never raises; may be called again."""
        ...


class LoopLocal(Generic[T]):
    """One resource for each event loop that asks. Usable from any thread, and after a fork.

    The resource of a loop is freed when the loop ends: by `asyncio.run`, `asyncio.Runner` and whoever else
    calls `loop.shutdown_asyncgens()` while the loop can still be used. After a plain `loop.close()` it is
    freed with the next use of this object on another loop, its `aclose` or its collection. For that a
    resource has to be Droppable; others are only freed while their loop runs.
    """

    def __init__(self, close: Callable[[T], Coroutine[Any, Any, None]]) -> None:
        """`close` frees a resource, awaited on its loop. It must not refer to this object's owner."""
        self._close = close
        self._kept = self._begin()

    def get(self, make: Callable[[], T]) -> T:
        """The resource of the running event loop, made if there is none."""
        loop = asyncio.get_running_loop()
        kept = self._here()
        with kept.lock:
            if loop not in kept.entries:
                kept.drop_closed()
                value = make()
                kept.entries[loop] = _Entry(value)
                if loop not in kept.ended:
                    kept.entries[loop].end = _begun(_end_with_loop(weakref.ref(kept), value, self._close))
            found: T = kept.entries[loop].value
            return found

    async def aclose(self) -> None:
        """Free the resource of the running event loop, and those of closed loops."""
        kept = self._here()
        with kept.lock:
            kept.drop_closed()
            entry = kept.entries.pop(asyncio.get_running_loop(), None)
        if entry is not None:
            await self._close(entry.value)
            if entry.end is not None:
                await entry.end.aclose()

    def drop_closed(self) -> None:
        """Free the resources of closed loops."""
        kept = self._here()
        with kept.lock:
            kept.drop_closed()

    def _here(self) -> _Kept:
        if self._kept.pid != os.getpid():
            self._kept.finish()
            self._kept = self._begin()
        return self._kept

    def _begin(self) -> _Kept:
        kept = _Kept()
        weakref.finalize(self, kept.finish)
        return kept


@define(eq=False)
class _Entry:
    value: Any
    end: AsyncGenerator[None, None] | None = None
    """Ends with the loop, which is told of it when it begins."""


@define(eq=False, weakref_slot=True)
class _Kept:
    """The resources of one process."""

    pid: int = field(factory=os.getpid)
    lock: threading.Lock = field(factory=threading.Lock)
    entries: dict[asyncio.AbstractEventLoop, _Entry] = field(factory=dict)
    ended: weakref.WeakSet[asyncio.AbstractEventLoop] = field(factory=weakref.WeakSet)
    """Loops that are about to be closed: they take no further asynchronous generators."""

    def drop_closed(self) -> None:
        for loop in [loop for loop in self.entries if loop.is_closed()]:
            _drop(self.entries.pop(loop).value, "closed")

    def finish(self) -> None:
        """Nobody uses these any more. Those of open loops are freed by their loops."""
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
    """Free the value when this generator is closed: by its loop, which ends, or collects it."""
    pid = os.getpid()
    try:
        yield
    finally:
        loop, here = asyncio.get_running_loop(), kept()
        if here is not None and loop in here.entries:
            del here.entries[loop]
            here.ended.add(loop)
        if isinstance(value, Droppable):
            # Nothing may take long from here on: a loop that ends waits for no task that begins now.
            value.drop("running" if os.getpid() == pid else "inherited")
            await asyncio.sleep(0)
        else:
            await close(value)


def _begun(generator: AsyncGenerator[None, None]) -> AsyncGenerator[None, None] | None:
    """The generator, run to its `yield`; None where no loop would end it."""
    if sys.get_asyncgen_hooks().firstiter is None:
        return None
    first: Any = generator.__anext__()
    with suppress(StopIteration):
        first.send(None)
    return generator


def _drop(value: object, loop: LoopState) -> None:
    if isinstance(value, Droppable):
        value.drop(loop)
