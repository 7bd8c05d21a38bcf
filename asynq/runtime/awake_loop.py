"""`AwakeLoop`: keeps an event loop from sleeping while an answer is about to arrive."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AWAKE_SECONDS = 0.0003
"""For how long a loop stays awake. Stores on the same machine or near by answer sooner."""
REST = 20
"""How often a loop sleeps after it stayed awake for nothing."""

_give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: None)  # Windows has none


class AwakeLoop:
    """Makes the running event loop look for what arrives without sleeping, for a short time.

    A processor that sleeps has to be woken by whoever sends the answer, which costs the sender time too: on a
    virtual machine both take as long as the answer itself. Other processes go first.

    Args:
        needed: whether there still is something to wait for, and nothing else to do.
        monotonic: the time in seconds. Not that of the event loop, which may stand still for a millisecond.
    """

    def __init__(
        self, needed: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._needed = needed
        self._monotonic = monotonic
        self._loop = asyncio.get_running_loop()
        self._staying = False
        self._until = 0.0
        self._rest = 0

    def stay(self) -> None:
        """Stay awake from now on while it is needed, unless that was in vain shortly before."""
        if self._rest:
            self._rest -= 1
            return
        self._until = self._monotonic() + AWAKE_SECONDS
        if not self._staying:
            self._staying = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        if not self._needed():
            self._staying = False
        elif self._monotonic() < self._until:
            self._loop.call_soon(self._look)
            _give_way()
        else:
            self._staying, self._rest = False, REST
