"""Keeps an event loop or a thread from sleeping while an answer is about to arrive.

A processor that sleeps has to be woken by whoever sends the answer, which costs the sender time too: on a
virtual machine both take as long as the answer itself. Other processes go first.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOP_SECONDS = 0.0003
"""For how long a loop stays awake. Stores on the same machine or near by answer sooner."""
THREAD_SECONDS = 0.0001
"""For how long a thread stays awake. Stores on the same machine answer sooner. Others take so much longer
that the time to wake up matters less than that of the processor."""
LOOK_SECONDS = 0.00002
"""If one look takes longer, others run meanwhile, and a thread that stays awake is in their way."""
REST = 20
"""How often a loop or a thread sleeps after it stayed awake for nothing."""

_give_way: Callable[[], object] = getattr(os, "sched_yield", lambda: None)  # Windows has none


class AwakeLoop:
    """Makes the running event loop look for what arrives without sleeping, for a short time.

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
        self._until = self._monotonic() + LOOP_SECONDS
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


class AwakeThread:
    """Makes the calling thread look for an answer without sleeping, for a short time.

    Args:
        arrived: whether the answer is there. It must let other threads run.
        monotonic: the time in seconds.
    """

    def __init__(
        self, arrived: Callable[[], object], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._arrived = arrived
        self._monotonic = monotonic
        self._rest = 0

    def stay(self) -> None:
        """Return when the answer is there, or after THREAD_SECONDS, or if others need the processor.

        Returns at once if that was in vain shortly before.
        """
        if self._rest:
            self._rest -= 1
            return
        now = self._monotonic()
        until = now + THREAD_SECONDS
        while not self._arrived():
            looked, now = now, self._monotonic()
            if now >= until or now - looked > LOOK_SECONDS:
                self._rest = REST
                return
            _give_way()
