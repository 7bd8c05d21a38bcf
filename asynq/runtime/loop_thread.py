"""Runs coroutines for synchronous callers, on an event loop in a background thread."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from concurrent.futures import CancelledError
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asynq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator

T = TypeVar("T")

_INHERITED: Final[list[object]] = []
"""Threads of the parent process, after a fork. Their event loops belong to the parent and are not touched."""


_END: Final = object()
"""In place of the item after the last one."""


class LoopThread:
    """Runs coroutines for any thread, on one event loop that starts with the first call.

    A forked child gets its own loop.

    Args:
        on_close: awaited on the loop when the loop ends: at `close`, or when this object is collected.
    """

    def __init__(self, on_close: Callable[[], Awaitable[None]]) -> None:
        self._on_close = on_close
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._thread: _Thread | None = None

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine and return its result.

        Raises:
            BrokerUnavailable: `close` was called while the coroutine was running.
        """
        if self._pid != os.getpid():
            # At the fork the lock may have been held, and the child does not have the thread.
            self._lock, self._pid, self._thread = threading.Lock(), os.getpid(), None
        with self._lock:
            if self._thread is None:
                self._thread = _Thread(self._on_close)
                # At exit the thread ends by itself. Joining it could hang.
                weakref.finalize(self, self._thread.stop).atexit = False
            future = asyncio.run_coroutine_threadsafe(work(), self._thread.loop)
        try:
            return future.result()
        except CancelledError:
            raise BrokerUnavailable("it was closed while a call was waiting for it") from None
        finally:
            future.cancel()
            # This frame is part of the error's traceback: it must not reference the error in turn.
            del future

    def iterate(self, stream: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """The items of an asynchronous generator. It is closed on its loop when this one is dropped.

        Raises:
            BrokerUnavailable: `close` was called while the next item was awaited.
        """
        # No `finally`: it could run in the thread of the loop, where nothing may wait for the loop.
        while (item := self.run(partial(_next, stream))) is not _END:
            yield item

    def close(self) -> None:
        """Cancel the running coroutines and end the loop. The next `run` starts a new one."""
        if self._pid != os.getpid():
            return
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.stop()
        if thread is not None:
            thread.join()


async def _next(stream: AsyncGenerator[T, None]) -> T | Any:
    return await anext(stream, _END)


class _Thread(threading.Thread):
    def __init__(self, on_close: Callable[[], Awaitable[None]]) -> None:
        super().__init__(name="asynq-loop-thread", daemon=True)
        self.loop = asyncio.new_event_loop()
        self._on_close = on_close
        self._pid = os.getpid()
        self._stopped = asyncio.Event()
        self.start()

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """Ask the loop to end. Does not wait, and may be called more than once."""
        if self._pid != os.getpid():
            _INHERITED.append(self)
        elif not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        await self._stopped.wait()
        if callers := asyncio.all_tasks() - {asyncio.current_task()}:
            for caller in callers:
                caller.cancel()
            await asyncio.wait(callers)
        await self._on_close()
