"""The ticks of a schedule: instants at which a periodic task is due, the same ones for every scheduler.

`@every` counts from the Unix epoch, not from when a scheduler started: so several schedulers agree, and a
restart changes nothing. Instants are Unix milliseconds.
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
"""Milliseconds: how far behind the present the latest tick is looked for first."""


@frozen
class Ticks:
    """The ticks of one schedule."""

    schedule: Schedule

    def after(self, instant: int) -> int | None:
        """The first tick strictly after the instant; None if there is none within five years."""
        if isinstance(self.schedule, IntervalSchedule):
            interval = self.schedule.interval // _MILLISECOND
            return (instant // interval + 1) * interval
        tick = self.schedule.next_after(EPOCH + instant * _MILLISECOND)
        return None if tick is None else (tick - EPOCH) // _MILLISECOND

    def between(self, start: int, end: int) -> Iterator[int]:
        """The ticks after the start up to the end, ascending."""
        tick = self.after(start)
        while tick is not None and tick <= end:
            yield tick
            tick = self.after(tick)

    def due(self, since: int, now: int, catch_up: int) -> int | None:
        """The tick to enqueue next, when all up to `since` are done; None when nothing is due.

        The first due one that is not older than `catch_up`; when all due ones are older, the latest.
        """
        first = self.after(since)
        if first is None or first > now:
            return None
        if first >= now - catch_up:
            return first
        return next(self.between(max(since, now - catch_up - 1), now), None) or self._latest(since, now)

    def _latest(self, since: int, now: int) -> int | None:
        """The latest tick after `since`, looked for further and further back, for there may be very many."""
        span = _FIRST_SPAN
        while now - span > since:
            if ticks := list(self.between(now - span, now)):
                return ticks[-1]
            span *= 4
        return max(self.between(since, now), default=None)
