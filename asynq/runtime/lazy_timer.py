"""`LazyTimer`: a timer that is set anew very often and almost never expires."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LazyTimer:
    """Calls a function at an instant, which may be changed before. Belongs to the running event loop.

    To change the instant to a later one is an assignment: the timer of the event loop fires at the earlier
    instant and is then set for the later one.
    """

    def __init__(self, callback: Callable[[], object]) -> None:
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._due = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._fires_at = math.inf

    def set(self, due: float) -> None:
        """Call the function at this instant of the event loop's clock, not at an earlier one. inf: never."""
        self._due = due
        if due < self._fires_at:
            self.close()
            self._arm()

    def close(self) -> None:
        """Free the timer of the event loop."""
        if self._handle is not None:
            self._handle.cancel()

    def _arm(self) -> None:
        self._fires_at = self._due
        self._handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        self._handle, self._fires_at = None, math.inf
        if self._loop.time() >= self._due:
            self._due = math.inf
            self._callback()
        elif self._due < math.inf:
            self._arm()
