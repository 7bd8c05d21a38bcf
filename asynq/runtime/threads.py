"""The threads that functions of users run in: handlers, what they hand to threads, aggregators, providers."""

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
    """What the function answers or raises, called in one of the threads in the caller's context.

    Cancelling the caller does not end the call.
    """
    answer: CallResult[T] = CallResult()
    future = threads.submit(copy_context().run, answer.fill, partial(function, *args, **kwargs))
    return await result_of(future, answer)


class CallResult(Generic[T]):
    """What a function answered or raised, on its way from one thread to another.

    Errors travel as values: a future cannot carry StopIteration, nor a loop survive SystemExit in one. And in
    a future that a frame of their traceback holds, errors would be kept, with the locals of all those frames,
    until the garbage collector comes.
    """

    def __init__(self) -> None:
        self._held: list[tuple[T, None] | tuple[None, BaseException]] = []

    def fill(self, function: Callable[[], T]) -> None:
        """Call the function and keep what it answers or raises."""
        held = self._held
        try:
            with ExitForkedChild():
                result = function()
            held.append((result, None))
        except BaseException as error:  # noqa: BLE001
            held.append((None, error))
        finally:
            # Of an error that nobody takes, this frame is part of the traceback.
            del self, held

    def take(self) -> T:
        """What was kept, once: returned or raised."""
        answer, error = self._held.pop()
        if error is None:
            return cast("T", answer)
        try:
            raise error
        finally:
            del error


async def result_of(future: Future[None], answer: CallResult[T]) -> T:
    """What `answer` was filled with, once the call that fills it has ended."""
    try:
        await completion_of(future)
    except asyncio.CancelledError:
        future.cancel()
        raise
    if future.cancelled():
        raise asyncio.CancelledError
    return answer.take()


def completion_of(future: Future[Any]) -> asyncio.Future[None]:
    """A future of the running event loop that is done when the other one is, however that ended."""
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()

    def ended(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits any more
            loop.call_soon_threadsafe(_set_done, end)

    future.add_done_callback(ended)
    return end


def _set_done(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)


class DaemonThreadPool(Executor):
    """Up to `size` threads, started when needed and kept, that do not hold up the end of the interpreter.

    The standard pool joins its threads at exit, so that one stuck handler would keep a worker from ending
    for ever. `submit` raises RuntimeError after `shutdown`.
    """

    def __init__(self, size: int, name: str = "asynq-handler") -> None:
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
            # First of all: a new thread that finds nothing counts as idle, also when it no longer is.
            self._items.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._started) < self._size:
                self._start_thread()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Take no more calls; the threads end after those taken. `cancel_futures` drops the waiting ones."""
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
            _carry_out(*item)
            del item  # an idle thread keeps nobody's arguments and results alive

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
    """DaemonThreadPool as an event loop takes them for its default executor: for `asyncio.to_thread`.

    Closing the loop does not wait for calls that go on.
    """

    def __init__(self, size: int) -> None:
        # Not that of ThreadPoolExecutor, which is a base only because event loops insist on it.
        DaemonThreadPool.__init__(self, size, "asynq-loop")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """Take no more calls, and wait for none."""
        DaemonThreadPool.shutdown(self, wait=False, cancel_futures=cancel_futures)


async def run_in_new_thread(call: Callable[[], T]) -> T:
    """Await a call in a thread of its own: handlers may have taken all of the event loop's, and keep them."""
    thread = DaemonThreadPool(1, "asynq-call")
    try:
        return await run_in_thread(thread, call)
    finally:
        thread.shutdown(wait=False)


def _carry_out(future: Future[Any], call: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        with ExitForkedChild():
            answer = call()
        future.set_result(answer)
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the future
        future.set_exception(error)
    finally:
        # This frame is part of the error's traceback, and must not hold what holds the error.
        del future, call
