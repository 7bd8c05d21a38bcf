"""Clocks: the system's, a monotonic one, and a fake one for tests. Code that needs the time takes a Clock."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Protocol

_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """A source of the time in Unix milliseconds."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC by this machine's clock."""
        return time.time_ns() // 1_000_000


class SteadyClock:
    """This machine's time at creation, advanced by the monotonic clock, which nobody sets."""

    def __init__(self) -> None:
        self._ahead = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC. Never decreases."""
        return (time.monotonic_ns() + self._ahead) // 1_000_000


class FakeClock:
    """A clock for tests, which moves only when the test moves it."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        """The instant to which the clock was last set."""
        return self._now

    def advance(self, by: timedelta | int) -> None:
        """Move the clock forward by a timedelta or by milliseconds."""
        self._now += by if isinstance(by, int) else by // _MILLISECOND

    def set(self, now: int) -> None:
        """Set the clock to an instant, which may be earlier."""
        self._now = now
