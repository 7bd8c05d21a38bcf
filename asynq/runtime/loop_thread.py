"""An event loop in a thread of its own: how callers who cannot await use what is only awaited."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asynq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

_INHERITED: Final[list[object]] = []
"""Threads that did not come along through a fork. Their loops are the parent's, and are left alone."""


class LoopThread:
    """Runs coroutines for any thread, on one event loop that starts with the first of them.

    `at_end` is awaited on that loop when it ends: with `close`, or when nobody holds the portal any more. A
    forked child has a loop of its own.
    """

    def __init__(self, at_end: Callable[[], Awaitable[None]]) -> None:
        self._at_end = at_end
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._thread: _Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine returns. BrokerUnavailable when the portal is closed while it runs."""
        if self._pid != os.getpid():
            # The lock may have been held, and the thread did not come along.
            self._lock, self._pid, self._thread = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self._at_end)
                # At exit the thread ends by itself, and joining it could hang.
                weakref.finalize(self, self._thread.stop).atexit = False
            future = asyncio.run_coroutine_threadsafe(work(), self._thread.loop)
        try:
            return future.result()
        except CancelledError:
            raise BrokerUnavailable("it was closed while a call was waiting for it") from None
        finally:
            future.cancel()
            # This frame is part of an error's traceback, and must not hold what holds the error.
            del future

    def close(self) -> None:
        """End the loop and what runs on it; the next `run` starts another."""
        if self._pid != os.getpid():
            return
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.stop()
        if thread is not None:
            thread.join()


class _Thread(threading.Thread):
    def __init__(self, at_end: Callable[[], Awaitable[None]]) -> None:
        super().__init__(name="asynq-portal", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._at_end = at_end
        self._pid = os.getpid()
        self._stopped = asyncio.Event()
        self.start()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._live())

    def stop(self) -> None:
        """End soon; does not wait, and may be called again."""
        if self._pid != os.getpid():
            _INHERITED.append(self)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stopped.set)

    async def _live(self) -> None:
        await self._stopped.wait()
        if callers := asyncio.all_tasks() - {asyncio.current_task()}:
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
        await self._at_end()
