"""Time as an argument: whoever needs the time is given a Clock."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Protocol

_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """Tells the time as a Unix instant in milliseconds."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC, as this machine believes."""
        return time.time_ns() // 1_000_000


class SteadyClock:
    """This machine's time as it was when this was made, counted on by what nobody sets."""

    def __init__(self) -> None:
        self._ahead = time.time_ns() - time.monotonic_ns()

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC; never less than before."""
        return (time.monotonic_ns() + self._ahead) // 1_000_000


class FakeClock:
    """A clock that stands still until it is moved: for tests."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self._now = now

    def now(self) -> int:
        """The instant the clock was last set to."""
        return self._now

    def advance(self, by: timedelta | int) -> None:
        """Move the clock forward, by a timedelta or by milliseconds."""
        self._now += by if isinstance(by, int) else by // _MILLISECOND

    def set(self, now: int) -> None:
        """Set the clock, also backwards."""
        self._now = now
