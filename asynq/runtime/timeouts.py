"""Timeouts that look for what has arrived before they expire.

A process that was stopped for a while (SIGSTOP, a paused machine, a blocked event loop) finds its timers
overdue at the same moment as the replies that arrived meanwhile. asyncio's own timeouts expire then, although
nobody was late but this process. The ones here first let the event loop handle what has arrived. One that
fires late by more than LATE also waits once more, for at most GRACE: what depends on this process may need a
moment.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

F = TypeVar("F", bound="asyncio.Future[Any]")

LATE = 0.1
"""Seconds by which a timer fires late when the process or its event loop was held up."""
GRACE = 0.5
"""Seconds by which a timer is extended that fired late, at most by its own length."""
TURNS = 4
"""Turns of the event loop before a timer expires: arrived data is read in one (under uvloop in the next), and
whoever waits for it goes on in another."""


class Timer:
    """Calls a function on the running event loop after so many seconds, unless it is cancelled."""

    def __init__(self, seconds: float, callback: Callable[[], object]) -> None:
        self._seconds = seconds
        self._callback: Callable[[], object] | None = callback
        self._extended = False
        self._loop = asyncio.get_running_loop()
        self._arm(seconds)

    def cancel(self) -> None:
        """Do not call the function, and release it: its owner often holds this timer, too."""
        self._handle.cancel()
        self._callback = None

    def _arm(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._handle: asyncio.Handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        if self._loop.time() - self._due > LATE and not self._extended:
            self._extended = True
            self._arm(min(self._seconds, GRACE))
        else:
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
    """A context that raises TimeoutError after so many seconds. None: never."""
    return _Timeout(seconds)


async def wait(
    futures: Collection[F], seconds: float, *, return_when: str = asyncio.ALL_COMPLETED
) -> tuple[set[F], set[F]]:
    """asyncio.wait with a timeout of this module. Returns the futures that are done, and the others."""
    waited = set(futures)
    with suppress(TimeoutError):
        async with timeout(seconds):
            await asyncio.wait(waited, return_when=return_when)
    done = {future for future in waited if future.done()}
    return done, waited - done
