"""Wait for a condition, with a bound. This module holds the only sleeps of the tests."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, TypeVar, cast, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which a condition counts as failed. A busy machine needs a few of them at most."""
POLL = 0.005
"""Seconds between two looks at a condition, at least."""
REST = 4
"""Times as long as a look took until the next one: a costly look must not slow down what it waits for."""


def eventually(
    condition: Callable[[], T], within: float = PATIENCE, *, explain: Callable[[], object] | None = None
) -> T:
    """Wait until the condition is true, looking again and again.

    Args:
        condition: What to wait for.
        within: Seconds to wait at most.
        explain: Describes the state that was found instead, for the error.

    Returns:
        The value of the condition.

    Raises:
        AssertionError: The condition was not true in time.
    """
    looks = _Looks(within, explain)
    while not (value := condition()):
        time.sleep(looks.pause())
    return value


@overload
async def aeventually(
    condition: Callable[[], Awaitable[T]], within: float = ..., *, explain: Callable[[], object] | None = ...
) -> T: ...
@overload
async def aeventually(
    condition: Callable[[], T], within: float = ..., *, explain: Callable[[], object] | None = ...
) -> T: ...
async def aeventually(
    condition: Callable[[], T | Awaitable[T]],
    within: float = PATIENCE,
    *,
    explain: Callable[[], object] | None = None,
) -> T:
    """Like `eventually`, without blocking the event loop. The condition may be a coroutine function."""
    looks = _Looks(within, explain)
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return cast("T", value)
        await asyncio.sleep(looks.pause())


def let_pass(seconds: float) -> None:
    """Let time pass in which a fault is in force in real servers and processes: its length is what is tested.

    Everything else waits for a condition.
    """
    time.sleep(seconds)


class _Looks:
    """The looks at one condition."""

    def __init__(self, within: float, explain: Callable[[], object] | None) -> None:
        self._within = within
        self._explain = explain
        self._began = self._looked = time.monotonic()

    def pause(self) -> float:
        """Seconds until the next look, after one in vain; an error when there is no time left."""
        now = time.monotonic()
        if now > self._began + self._within:
            found = f": {self._explain()}" if self._explain else ""
            raise AssertionError(f"the condition was not true within {self._within:g} s{found}")
        pause = min(max(POLL, REST * (now - self._looked)), 1.0)
        self._looked = now + pause
        return pause
