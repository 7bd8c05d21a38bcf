"""Rates of all queues: the counters of several readings of the broker, compared."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from attrs import Factory, frozen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asynq.inspector.overview import Overview

_WINDOW = 60.0
"""Seconds over which rates are averaged, and after which a pause in the reading starts them anew."""
TREND = 150
"""Readings of which the trend is remembered."""
STEP = 5
"""Readings of one step of the trend of a queue."""


@frozen
class Rate:
    """Runs in a second."""

    processed: float = 0.0
    failed: float = 0.0


@frozen
class RatedOverview:
    """All queues and servers, and how fast the queues are."""

    overview: Overview
    rates: Mapping[str, Rate] = Factory(dict)
    """By queue. Empty at the first reading."""
    trend: tuple[Rate, ...] = ()
    """Of all queues together, between each two of the last readings."""
    trends: Mapping[str, tuple[float, ...]] = Factory(dict)
    """By queue, over the same time in longer steps. Empty until the first step is over."""
    span: float = 0.0
    """Seconds that a full trend covers."""


class RatedReader:
    """Reads all queues and servers again and again, and compares what it read.

    What it remembers outlasts short times in which nobody watches: a browser that is out of sight, or between
    two pages.

    Args:
        read: Reads everything.
        now: A clock in seconds that nobody sets.
        interval: Seconds between two readings.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Overview]],
        now: Callable[[], float] = time.monotonic,
        *,
        interval: float = 2.0,
    ) -> None:
        self._read = read
        self._now = now
        self._span = interval * TREND
        self._last = -_WINDOW
        self._rates = RateWindow(_WINDOW)
        self._trend = Trend(TREND)
        self._steps = QueueTrends(TREND // STEP, STEP)

    async def __call__(self) -> RatedOverview:
        """Read everything once more."""
        began = self._now()
        overview = await self._read()
        if began - self._last > _WINDOW:
            self._rates, self._trend = RateWindow(_WINDOW), Trend(TREND)
            self._steps = QueueTrends(TREND // STEP, STEP)
        self._last = began
        return RatedOverview(
            overview,
            self._rates.add(began, overview),
            self._trend.add(began, overview),
            self._steps.add(began, overview),
            self._span,
        )


class RateWindow:
    """Runs in a second, averaged over the last readings of the counters.

    Args:
        seconds: Length of the window.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._readings: deque[Reading] = deque()

    def add(self, now: float, overview: Overview) -> dict[str, Rate]:
        """Add a reading. The rates by queue; empty until there are two readings."""
        self._readings.append(Reading.of(now, overview))
        while len(self._readings) > 2 and self._readings[1].at <= now - self._seconds:
            self._readings.popleft()
        return rates_between(self._readings[0], self._readings[-1])


class Trend:
    """Runs in a second of all queues together, between each two of the last readings.

    Args:
        size: The most readings that are remembered.
    """

    def __init__(self, size: int) -> None:
        self._rates: deque[Rate] = deque(maxlen=size)
        self._last: Reading | None = None

    def add(self, now: float, overview: Overview) -> tuple[Rate, ...]:
        """Add a reading. The rates, oldest first."""
        last, self._last = self._last, Reading.of(now, overview)
        if last is not None and now > last.at:
            rates = rates_between(last, self._last).values()
            self._rates.append(
                Rate(sum(each.processed for each in rates), sum(each.failed for each in rates))
            )
        return tuple(self._rates)


class QueueTrends:
    """Runs in a second of each queue, over steps of several readings.

    Args:
        size: The most steps that are remembered.
        step: Readings of a step.
    """

    def __init__(self, size: int, step: int) -> None:
        self._step = step
        self._readings = 0
        self._last: Reading | None = None
        self._rates: deque[dict[str, Rate]] = deque(maxlen=size)
        self._trends: dict[str, tuple[float, ...]] = {}

    def add(self, now: float, overview: Overview) -> Mapping[str, tuple[float, ...]]:
        """Add a reading. The rates of each queue, oldest first; 0 where it did not exist."""
        if self._readings % self._step == 0:
            last, self._last = self._last, Reading.of(now, overview)
            if last is not None and now > last.at:
                self._rates.append(rates_between(last, self._last))
                nothing = Rate()
                self._trends = {
                    queue: tuple(each.get(queue, nothing).processed for each in self._rates)
                    for queue in self._last.counters
                }
        self._readings += 1
        return self._trends


@frozen
class Reading:
    """The counters of all queues at one time: runs that ended, and those of them that failed."""

    at: float
    counters: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, at: float, overview: Overview) -> Reading:
        """The reading of an overview."""
        return cls(at, {info.queue: (info.processed_total, info.failed_total) for info in overview.queues})


def rates_between(before: Reading, after: Reading) -> dict[str, Rate]:
    """The rates by queue, of the queues in both readings; empty if no time lies between them."""
    seconds = after.at - before.at
    if seconds <= 0:
        return {}
    return {
        queue: Rate(
            # A queue that was deleted and made again counts from zero.
            max(processed - before.counters[queue][0], 0) / seconds,
            max(failed - before.counters[queue][1], 0) / seconds,
        )
        for queue, (processed, failed) in after.counters.items()
        if queue in before.counters
    }
