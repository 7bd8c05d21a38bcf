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
"""Seconds between two looks at a condition."""


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
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, _late(within, explain)
        time.sleep(POLL)
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
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return cast("T", value)
        assert time.monotonic() < deadline, _late(within, explain)
        await asyncio.sleep(POLL)


def _late(within: float, explain: Callable[[], object] | None) -> str:
    found = f": {explain()}" if explain else ""
    return f"the condition was not true within {within:g} s{found}"
