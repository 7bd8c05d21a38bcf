"""The ticks of a schedule: the times at which a periodic task is due, the same for every scheduler.

`@every` counts from the Unix epoch and not from the start of a scheduler, so that all schedulers agree and a
restart changes nothing. Times are in Unix milliseconds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.cron import IntervalSchedule
from asynq.instants import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.cron import Schedule

_MILLISECOND = timedelta(milliseconds=1)
_FIRST_SPAN = 60_000
"""Milliseconds before the present in which the latest tick is searched first."""


@frozen
class Ticks:
    """The ticks of one schedule."""

    schedule: Schedule

    def after(self, instant: int) -> int | None:
        """The first tick after the instant. None if there is none within five years."""
        if isinstance(self.schedule, IntervalSchedule):
            interval = self.schedule.interval // _MILLISECOND
            return (instant // interval + 1) * interval
        tick = self.schedule.next_after(EPOCH + instant * _MILLISECOND)
        return None if tick is None else (tick - EPOCH) // _MILLISECOND

    def between(self, start: int, end: int) -> Iterator[int]:
        """The ticks after `start` up to and including `end`, in ascending order."""
        tick = self.after(start)
        while tick is not None and tick <= end:
            yield tick
            tick = self.after(tick)

    def due(self, since: int, now: int, catch_up: int) -> int | None:
        """The tick to enqueue next, if all ticks up to `since` are done. None if nothing is due.

        This is the first due tick that is not older than `catch_up`. If all due ticks are older, it is the
        latest one.
        """
        first = self.after(since)
        if first is None or first > now:
            return None
        if first >= now - catch_up:
            return first
        return next(self.between(max(since, now - catch_up - 1), now), None) or self._latest(since, now)

    def _latest(self, since: int, now: int) -> int | None:
        """The latest tick after `since`. Searches back in growing spans, because there may be very many."""
        span = _FIRST_SPAN
        while now - span > since:
            if ticks := list(self.between(now - span, now)):
                return ticks[-1]
            span *= 4
        return max(self.between(since, now), default=None)
