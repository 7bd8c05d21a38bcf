"""Timeouts that do not expire merely because this process was suspended: replies that have arrived count.

When a process resumes (after SIGSTOP, a paused machine, a blocked event loop), its timers are overdue and
replies that arrived meanwhile are unread. The timeouts of asyncio expire then, although only this process was
late. These timeouts first let the event loop process what has arrived. A timeout that fires more than LATE
seconds late is also extended once, by at most GRACE, because others may depend on this process.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

F = TypeVar("F", bound="asyncio.Future[Any]")

LATE = 0.1
"""A timer that fires later than this, in seconds, was delayed by a suspended process or a blocked loop."""
GRACE = 0.5
"""Maximum seconds by which a late timer is extended. It is extended by its own length at most."""
TURNS = 4
"""Iterations of the event loop before a timer expires. Data is read in the first one (with uvloop, in the
second one), and coroutines that wait for the data continue in a later one."""


class Timer:
    """Calls a function on the running event loop after a number of seconds, unless it is cancelled."""

    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        self._seconds = seconds
        self._callback: Callable[[], object] | None = callback
        self._extended = False
        self._loop = asyncio.get_running_loop()
        self.fired_at = math.inf
        """When the time was over, by the clock of the event loop. The function is called a little later."""
        self._arm(seconds)

    def cancel(self) -> None:
        """Cancel the timer and drop its function, whose owner often references this timer in turn."""
        self._handle.cancel()
        self._callback = None

    def _arm(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._handle: asyncio.Handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        now = self._loop.time()
        if now - self._due > LATE and not self._extended:
            self._extended = True
            self._arm(min(self._seconds, GRACE))
        else:
            self.fired_at = now
            self._turn(TURNS)

    def _turn(self, left: int) -> None:
        if left:
            self._handle = self._loop.call_soon(self._turn, left - 1)
        elif self._callback is not None:
            callback, self._callback = self._callback, None
            callback()


class _Timeout(AbstractAsyncContextManager["_Timeout"]):
    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)
        self._timer: Timer | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        if self._seconds is not None:
            self._timer = Timer(self._seconds, self._expire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)  # it raises TimeoutError, or returns nothing

    def _expire(self) -> None:
        self._timeout.reschedule(0)


def timeout(seconds: float | None) -> AbstractAsyncContextManager[object]:
    """A context manager that raises TimeoutError after `seconds`. None: never."""
    return _Timeout(seconds)


async def wait(
    futures: Collection[F], seconds: float | None, *, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[F], set[F]]:
    """asyncio.wait with a timeout of this module. Returns the futures that are done, and the others."""
    waited = set(futures)
    with suppress(TimeoutError):
        async with timeout(seconds):
            await asyncio.wait(waited, return_when=return_when)
    done = {future for future in waited if future.done()}
    return done, waited - done
