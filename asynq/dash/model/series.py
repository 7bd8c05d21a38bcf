"""`Series`: throughput, failures and latency over the time watched, from counters read now and then."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.info import QueueInfo

Counted = tuple[float, float, float]
"""Processed, failed, latency in seconds."""

MAX_SAMPLES = 512
"""Samples of one series. When there are more, every second one of the older half is dropped."""
MAX_QUEUES = 1000
"""Queues with a series of their own, so that any number of queues takes little memory."""
RATE_WINDOW = 10.0
"""Seconds over which a rate of the present is the mean."""


class Series:
    """Counters of one queue, or of all, as they were read.

    Between two samples a counter is taken to grow evenly: a time in which nothing was read shows the mean of
    that time.
    """

    def __init__(self) -> None:
        self._at = array("d")
        self._processed = array("d")
        self._failed = array("d")
        self._latency = array("d")

    def __len__(self) -> int:
        return len(self._at)

    def add(self, at: float, processed: float, failed: float, latency: float) -> None:
        """Add a sample. Counters that have become less were reset, and begin a new series."""
        if self._at and (processed < self._processed[-1] or failed < self._failed[-1]):
            for column in self._columns:
                del column[:]
        if self._at and at <= self._at[-1]:
            return
        for column, value in zip(self._columns, (at, processed, failed, latency), strict=True):
            column.append(value)
        if len(self._at) > MAX_SAMPLES:
            for column in self._columns:
                del column[1 : MAX_SAMPLES // 2 : 2]

    @property
    def _columns(self) -> tuple[array[float], ...]:
        return self._at, self._processed, self._failed, self._latency

    @property
    def watched(self) -> float:
        """Seconds from the first sample to the last one."""
        return self._at[-1] - self._at[0] if self._at else 0.0

    def rate(self, now: float) -> float | None:
        """Runs that ended per second, just now. None until it was read twice."""
        (rate,) = self.throughput(now, RATE_WINDOW, 1)
        return rate

    def throughput(self, now: float, window: float, parts: int) -> list[float | None]:
        """Runs that ended per second in each part of the time up to now. None: not watched yet."""
        rates: list[float | None] = []
        for start, end in self._parts(now, window, parts):
            grown = self._grown(self._processed, start, end)
            rates.append(None if grown is None else grown / (end - start))
        return rates

    def failure_rate(self, now: float, window: float, parts: int) -> list[float | None]:
        """The share of failed runs in each part, from 0 to 1. None also where no run ended."""
        shares: list[float | None] = []
        for start, end in self._parts(now, window, parts):
            processed = self._grown(self._processed, start, end)
            failed = self._grown(self._failed, start, end)
            shares.append(min(failed / processed, 1.0) if processed and failed is not None else None)
        return shares

    def latency(self, now: float, window: float, parts: int) -> list[float | None]:
        """The longest latency in seconds that was read in each part, or the one read before it."""
        longest: list[float | None] = []
        for start, end in self._parts(now, window, parts):
            first = max(bisect_right(self._at, start) - 1, 0)
            values = self._latency[first : bisect_right(self._at, end)]
            longest.append(max(values) if values and self._at[0] <= end else None)
        return longest

    def _parts(self, now: float, window: float, parts: int) -> list[tuple[float, float]]:
        """Start and end of each part. A sample may be a little older than now: the last one counts as now."""
        width = window / parts
        if self._at:
            now = min(now, self._at[-1])
        return [(now - (parts - place) * width, now - (parts - place - 1) * width) for place in range(parts)]

    def _grown(self, counter: array[float], start: float, end: float) -> float | None:
        """By how much a counter grew, from the first sample on. None if none of this time was watched."""
        if len(self._at) < 2 or end <= self._at[0]:
            return None
        grown = self._value(counter, end) - self._value(counter, start)
        watched = end - max(start, self._at[0])
        return grown * (end - start) / watched

    def _value(self, counter: array[float], at: float) -> float:
        after = bisect_left(self._at, at)
        if after == 0:
            return counter[0]
        if after == len(self._at):
            return counter[-1]
        before = after - 1
        share = (at - self._at[before]) / (self._at[after] - self._at[before])
        return counter[before] + share * (counter[after] - counter[before])


class Watched:
    """The series of all queues together, and of each."""

    def __init__(self) -> None:
        self.all = Series()
        self._of: dict[str, Series] = {}
        self._last: dict[str, Counted] = {}
        self._sum = [0.0, 0.0]

    def of(self, queue: str) -> Series:
        """The series of a queue; an empty one if it was not read yet."""
        return self._of.get(queue) or Series()

    def add(self, info: QueueInfo, at: float) -> None:
        """Add what was read of one queue."""
        series = self._of.get(info.queue)
        if series is None:
            if len(self._of) >= MAX_QUEUES:
                return
            series = self._of[info.queue] = Series()
        processed, failed, latency = counted(info)
        series.add(at, processed, failed, latency)

    def add_all(self, infos: Sequence[QueueInfo], at: float) -> None:
        """Add what was read of all queues. A queue that was deleted, or is new, is no jump of the sum."""
        now = {info.queue: counted(info) for info in infos}
        for place in (0, 1):
            self._sum[place] += sum(_grown(self._last, queue, each, place) for queue, each in now.items())
        self._last = now
        for gone in self._of.keys() - now.keys():
            del self._of[gone]
        for info in infos:
            self.add(info, at)
        latency = max((latency for *_, latency in now.values()), default=0.0)
        self.all.add(at, self._sum[0], self._sum[1], latency)


def counted(info: QueueInfo) -> Counted:
    """What a series has of a queue."""
    return float(info.processed_total), float(info.failed_total), info.latency.total_seconds()


def _grown(last: Mapping[str, Counted], queue: str, now: Counted, place: int) -> float:
    before = last.get(queue)
    return 0.0 if before is None else max(now[place] - before[place], 0.0)
