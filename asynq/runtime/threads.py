"""Thread pools for user code: `asyncio.to_thread`, aggregators, config providers.

Their threads are daemons: a stuck function does not keep the process from exiting.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from asynq.runtime.forks import ExitForkedChild

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")

_Item = tuple[Future[Any], "Callable[[], Any]"]


async def run_in_thread(
    threads: Executor, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    """Call a function in one of the threads, in the caller's context. Returns or raises what it does.

    Cancelling the caller does not stop the function.
    """
    answer: CallResult[T] = CallResult()
    future = threads.submit(copy_context().run, answer.fill, partial(function, *args, **kwargs))
    return await result_of(future, answer)


class CallResult(Generic[T]):
    """What a function returned or raised, passed from one thread to another.

    Errors are passed as values: a future cannot hold StopIteration, and SystemExit in a future ends an event
    loop. Also, an error in a future that a frame of its traceback references is a reference cycle: it would
    keep the locals of all these frames alive until the next garbage collection.
    """

    def __init__(self) -> None:
        self._held: list[tuple[T, None] | tuple[None, BaseException]] = []

    def fill(self, function: Callable[[], T]) -> None:
        """Call the function and store what it returns or raises."""
        held = self._held
        try:
            with ExitForkedChild():
                result = function()
            held.append((result, None))
        except BaseException as error:  # noqa: BLE001
            held.append((None, error))
        finally:
            # This frame is part of the error's traceback: it must not reference the error in turn.
            del self, held

    def take(self) -> T:
        """Return or raise what was stored. Can be called once."""
        answer, error = self._held.pop()
        if error is None:
            return cast("T", answer)
        try:
            raise error
        finally:
            del error


async def result_of(future: Future[None], answer: CallResult[T]) -> T:
    """Wait until the call that fills `answer` has ended, then return or raise its result."""
    try:
        await completion_of(future)
    except asyncio.CancelledError:
        future.cancel()
        raise
    if future.cancelled():
        raise asyncio.CancelledError
    return answer.take()


def completion_of(future: Future[Any]) -> asyncio.Future[None]:
    """A future of the running event loop that is done when the other one is done, whatever its result."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def ended(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_set_done, end)

    future.add_done_callback(ended)
    return end


def _set_done(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)


class DaemonThreadPool(Executor):
    """A pool of daemon threads, which do not delay the exit of the interpreter.

    The standard pool joins its threads at exit: a stuck handler would keep the worker from exiting. Threads
    are started when needed, up to `size`, and are kept. `submit` raises RuntimeError after `shutdown`.
    """

    def __init__(self, size: int, name: str = "asynq-thread") -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1; it is {size}")
        self._size = size
        self._name = name
        self._items: SimpleQueue[_Item | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._started: list[threading.Thread] = []
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn` in one of the threads as soon as one is free."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new calls after shutdown")
            # Enqueue first: a new thread that finds no item counts itself as idle, even if it gets one later.
            self._items.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._started) < self._size:
                self._start_thread()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Accept no more calls. Threads end after the accepted calls; `cancel_futures` drops waiting ones."""
        with self._lock:
            if cancel_futures:
                self._drop_waiting()
            if not self._closed:
                self._closed = True
                for _ in self._started:
                    self._items.put(None)
        if wait:
            for thread in self._started:
                thread.join()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._serve, name=f"{self._name}-{len(self._started)}", daemon=True)
        thread.start()
        self._started.append(thread)

    def _serve(self) -> None:
        while (item := self._next()) is not None:
            _call(*item)
            del item  # an idle thread must not keep arguments and results alive

    def _next(self) -> _Item | None:
        try:
            return self._items.get_nowait()
        except Empty:
            self._idle.release()
            return self._items.get()

    def _drop_waiting(self) -> None:
        waiting = []
        with suppress(Empty):
            while True:
                waiting.append(self._items.get_nowait())
        for item in waiting:
            if item is None:
                self._items.put(None)
            else:
                item[0].cancel()


class LoopThreadPool(DaemonThreadPool, ThreadPoolExecutor):
    """The default executor of an event loop, which `asyncio.to_thread` uses.

    Closing the loop does not wait for running calls.
    """

    def __init__(self, size: int) -> None:
        # ThreadPoolExecutor is a base class only because event loops require it.
        DaemonThreadPool.__init__(self, size, "asynq-loop")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Accept no more calls. Does not wait for running ones."""
        DaemonThreadPool.shutdown(self, wait=False, cancel_futures=cancel_futures)


async def run_in_new_thread(call: Callable[[], T]) -> T:
    """Await a call in a new thread. The threads of the event loop may all be busy with handlers."""
    thread = DaemonThreadPool(1, "asynq-call")
    try:
        return await run_in_thread(thread, call)
    finally:
        thread.shutdown(wait=False)


def _call(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        with ExitForkedChild():
            answer = call()
        future.set_result(answer)
    except BaseException as error:  # noqa: BLE001 - the waiter of the future handles it
        future.set_exception(error)
    finally:
        # This frame is part of the error's traceback: it must not reference the error in turn.
        del future, call
