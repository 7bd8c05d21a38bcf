"""`CallThreads`: threads that call functions and report what ended to an event loop, many calls at once.

For calls that may be short: neither the start nor the end of each call wakes a thread or the event loop. The
threads take calls from one queue. A thread that takes a call wakes another one if calls are left, because its
own call may block. The event loop is woken once for all calls that have ended until it gets to them.

While calls are short, the event loop wakes one thread for a set of calls and gives up the interpreter lock
for it. If it gets the lock back while calls are left, the thread is in a call that blocks or lasts: then the
event loop wakes another thread, and the next sets of calls are not handed over.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asynq.errors.tracebacks import without_first_frame
from asynq.runtime.forks import ExitForkedChild

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

T = TypeVar("T")

HAND_OVER = 0.001
"""Seconds that the event loop waits at most until the thread that it woke runs."""
PAUSE = 8
"""How many sets of calls are not handed over after one whose calls were not short."""


class ThreadCall(Generic[T]):
    """A call of a function in a thread. `ended` is called on the event loop afterwards.

    Args:
        function: the function.
        context: the context variables of the call.
        ended: called with this call when the function has returned or raised.
    """

    __slots__ = ("_function", "_value", "context", "ended", "error")

    def __init__(
        self, function: Callable[[], T], context: Context, ended: Callable[[ThreadCall[T]], object]
    ) -> None:
        self._function = function
        self.context = context
        self._value: T | None = None
        self.error: BaseException | None = None
        """What the function raised. Errors are passed as values: a future can hold neither StopIteration nor,
        without ending the event loop, SystemExit."""
        self.ended = ended

    def run(self) -> None:
        """Call the function on this thread, and keep what it returns or raises."""
        try:
            with ExitForkedChild():
                self._value = self.context.run(self._function)
        except BaseException as error:  # noqa: BLE001
            self.error = without_first_frame(error)
        finally:
            # The frames of the error refer to this one, which must not refer to the error in turn.
            del self

    def take(self) -> T:
        """Return or raise what the function did. Can be called once."""
        error, self.error = self.error, None
        if error is None:
            return cast("T", self._value)
        try:
            raise error
        finally:
            # This frame is part of the error's traceback: it must not reference the error in turn.
            del error


class _Thread:
    """What wakes one of the threads when it is idle."""

    __slots__ = ("running", "woken")

    def __init__(self) -> None:
        self.woken = threading.Lock()
        """Released to wake the thread. Each has its own: a SimpleQueue wakes two of its readers per item."""
        self.woken.acquire()
        self.running: threading.Lock | None = None
        """Released by the thread as soon as it runs."""


class CallThreads:
    """Up to `size` daemon threads, started when they are needed. Belongs to the event loop of the first call.

    A stuck function does not keep the process from exiting.
    """

    def __init__(self, size: int, name: str = "asynq-handler") -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1; it is {size}")
        self._size = size
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[ThreadCall[Any]] = deque()
        self._ended: deque[ThreadCall[Any]] = deque()
        self._reporting = False
        """Whether the event loop will look at `_ended`."""
        self._lock = threading.Lock()
        self._waking = False
        """Whether a thread was woken that has not looked at `_waiting` yet."""
        self._watched = False
        """Whether the event loop will look at `_waiting` and `_ended` as soon as a thread lets it run."""
        self._pause = 0
        """How many sets of calls are not handed over, since calls blocked or lasted."""
        self._idle: list[_Thread] = []
        self._started = 0
        self._closed = False

    def submit(self, call: ThreadCall[Any]) -> None:
        """Run a call as soon as a thread is free. Called on the event loop.

        Raises:
            RuntimeError: the threads are closed.
        """
        self.add(call)
        if not self._waking:
            self._wake_one()

    def add(self, call: ThreadCall[Any]) -> None:
        """Run a call as soon as a thread is free and, at the latest, `run_added` is called.

        Called on the event loop.

        Raises:
            RuntimeError: the threads are closed.
        """
        if self._closed:
            raise RuntimeError("cannot call functions in threads that are closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._waiting.append(call)
        if (self._pause or not self._idle) and not self._waking:
            self._wake_one()

    def run_added(self) -> None:
        """Let threads run the calls of `add`. Called on the event loop.

        While calls are short, this gives up the interpreter lock, and returns when one thread has ended the
        calls, blocks or has had the lock for the switch interval.
        """
        if self._pause:
            self._pause -= 1
        elif self._waiting and self._idle and not self._waking:
            self._hand_over()

    def _hand_over(self) -> None:
        running = threading.Lock()
        running.acquire()
        ran, self._watched = False, True
        try:
            if self._wake_one(running):
                ran = running.acquire(timeout=HAND_OVER)
        finally:
            self._watched = False
            # After that: what a thread left to the event loop must be seen.
            if ran and (self._waiting or not self._ended):
                self._pause = PAUSE
            if self._waiting and not self._waking:
                self._wake_one()
            if self._ended and not self._reporting and self._loop is not None:
                self._reporting = True
                self._loop.call_soon(self._collect)

    def withdraw(self, call: ThreadCall[Any]) -> bool:
        """Drop a call that no thread has taken yet. Returns False if a thread has."""
        try:
            self._waiting.remove(call)
        except ValueError:
            return False
        return True

    def close(self) -> None:
        """Accept no more calls and drop those that no thread has taken. Threads end after their call."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            while self._idle:
                self._idle.pop().woken.release()

    def _wake_one(self, running: threading.Lock | None = None) -> bool:
        """Wake a thread or start one. Returns whether an idle thread will release the lock when it runs."""
        with self._lock:
            if self._waking or self._closed:
                return False
            if self._idle:
                self._waking = True
                thread = self._idle.pop()
                thread.running = running
                thread.woken.release()
                return True
            if self._started < self._size:
                self._waking = True
                self._started += 1
                name = f"{self._name}-{self._started - 1}"
                try:
                    threading.Thread(target=self._serve, name=name, daemon=True).start()
                except RuntimeError:  # the system allows no more
                    self._started -= 1
                    self._waking = False
                    if not self._started:
                        raise
            return False  # each thread looks for calls before it becomes idle

    def _serve(self) -> None:
        thread = _Thread()
        while True:
            self._waking = False
            if thread.running is not None:
                thread.running.release()
                thread.running = None
            while (call := self._next(thread)) is not None:
                if self._waiting and not self._waking and not self._watched:
                    self._wake_one()
                call.run()
                self._report(call)
                del call  # an idle thread must not keep arguments and results alive
            if self._closed:
                return
            thread.woken.acquire()

    def _next(self, thread: _Thread) -> ThreadCall[Any] | None:
        while True:
            try:
                return self._waiting.popleft()
            except IndexError:
                with self._lock:
                    if not self._waiting:
                        if not self._closed:
                            self._idle.append(thread)
                        return None

    def _report(self, call: ThreadCall[Any]) -> None:
        self._ended.append(call)
        if not self._reporting and not self._watched and self._loop is not None:
            self._reporting = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:  # the loop is closed
                self._ended.clear()

    def _collect(self) -> None:
        self._reporting = False
        try:
            while self._ended:
                call = self._ended.popleft()
                call.ended(call)
        finally:
            if self._ended and self._loop is not None:
                self._loop.call_soon(self._collect)
