"""`CallThreads`: threads that call functions and report what ended to an event loop, many calls at once.

For calls that may be short: neither the start nor the end of each call wakes a thread or the event loop. The
threads take calls from one queue; a thread that takes one wakes another thread if calls are left, because its
own call may block. The event loop is woken once for all calls that have ended until it gets to them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from asynq.errors.tracebacks import without_first_frame
from asynq.runtime.forks import ExitForkedChild

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

T = TypeVar("T")


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
        self._wakeups: SimpleQueue[None] = SimpleQueue()
        self._waking = False
        """Whether a thread was woken that has not looked at `_waiting` yet."""
        self._idle = 0
        self._started = 0
        self._closed = False

    def submit(self, call: ThreadCall[Any]) -> None:
        """Run a call as soon as a thread is free. Called on the event loop.

        Raises:
            RuntimeError: the threads are closed.
        """
        if self._closed:
            raise RuntimeError("cannot call functions in threads that are closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._waiting.append(call)
        if not self._waking:
            self._wake_one()

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
            for _ in range(self._started):
                self._wakeups.put(None)

    def _wake_one(self) -> None:
        with self._lock:
            if self._waking or self._closed:
                return
            if self._idle:
                self._idle -= 1
            elif self._started < self._size:
                self._started += 1
                name = f"{self._name}-{self._started - 1}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            else:
                return  # each thread looks for calls before it becomes idle
            self._waking = True
            self._wakeups.put(None)

    def _serve(self) -> None:
        while True:
            self._wakeups.get()
            self._waking = False
            while (call := self._next()) is not None:
                if self._waiting and not self._waking:
                    self._wake_one()
                call.run()
                self._report(call)
                del call  # an idle thread must not keep arguments and results alive
            if self._closed:
                return

    def _next(self) -> ThreadCall[Any] | None:
        while True:
            try:
                return self._waiting.popleft()
            except IndexError:
                with self._lock:
                    if not self._waiting:
                        self._idle += 1
                        return None

    def _report(self, call: ThreadCall[Any]) -> None:
        self._ended.append(call)
        if not self._reporting and self._loop is not None:
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
