"""`LivePoller`: reads the broker once for all browsers that watch, and not while none does."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import Factory, define, frozen

from asynq.errors import AsynqError
from asynq.ids import random_id
from asynq.runtime.logs import get_logger
from asynq.runtime.timeouts import timeout
from asynq.web.api.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from asynq.inspector.overview import Overview

log = get_logger("asynq.web")

KEEP_ALIVE = 15.0
"""Seconds without news after which a stream says that it is still there."""
_WINDOW = 60.0
"""Seconds over which rates are averaged."""
TREND = 150
"""Readings of which the trend is remembered."""


@frozen
class Rate:
    """Runs in a second."""

    processed: float = 0.0
    failed: float = 0.0


@define
class LiveSnapshot:
    """What the poller read last."""

    id: str
    overview: Overview | None
    rates: Mapping[str, Rate] = Factory(dict)
    """By queue. Empty at the first snapshot."""
    trend: tuple[Rate, ...] = ()
    """Of all queues together, between each two of the last readings."""
    error: str = ""
    """Why nothing was read."""
    rendered: dict[object, bytes] = Factory(dict)
    """What was made of it, by what each stream shows, so that it is made once for all of them."""


class LivePoller:
    """One reader for any number of watchers.

    A watcher that is slow misses snapshots, and gets the latest one when it is ready. Use it on one event
    loop.

    Args:
        read: Reads everything.
        interval: Seconds between two reads.
        max_watchers: The most watchers at the same time.
    """

    def __init__(
        self, read: Callable[[], Awaitable[Overview]], interval: float, *, max_watchers: int
    ) -> None:
        self._read = read
        self._interval = interval
        self._max_watchers = max_watchers
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._latest: LiveSnapshot | None = None
        self._rates = RateWindow(_WINDOW)
        self._trend = Trend(TREND)
        self._run_id = random_id()[:8]
        self._count = 0
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many there are."""
        return self._watchers

    @property
    def reading(self) -> bool:
        """Whether the broker is read again and again."""
        return self._task is not None

    async def snapshots(
        self, seen: str = "", keep_alive: float = KEEP_ALIVE
    ) -> AsyncGenerator[LiveSnapshot | None, None]:
        """The latest snapshot, and each later one; None after a while without any.

        Args:
            seen: Id of the snapshot that the watcher has: that one is left out.
            keep_alive: Seconds without a snapshot after which None comes.

        Raises:
            RequestError: There are too many watchers.
        """
        self.check_room()
        self._watchers += 1
        try:
            while not self._closed:
                if self._task is None:
                    self._task = asyncio.create_task(self._poll())
                latest, news = self._latest, self._news
                if latest is not None and latest.id != seen:
                    seen = latest.id
                    yield latest
                    continue
                try:
                    async with timeout(keep_alive):
                        await news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._stop()

    def check_room(self) -> None:
        """RequestError if there are too many watchers."""
        if self._watchers >= self._max_watchers:
            message = f"{self._watchers} browsers watch already"
            raise RequestError(503, "too_many_watchers", message, {"Retry-After": "30"})

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._tell()

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task, self._latest = None, None
        self._rates = RateWindow(_WINDOW)
        self._trend = Trend(TREND)

    async def _poll(self) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            self._count += 1
            snapshot_id = f"{self._run_id}-{self._count}"
            try:
                overview = await self._read()
            except AsynqError as error:
                self._latest = LiveSnapshot(snapshot_id, None, error=str(error))
            except Exception:
                log.exception("error while reading for the live pages")
                self._latest = LiveSnapshot(snapshot_id, None, error="an error of the server, see its log")
            else:
                rates, trend = self._rates.add(began, overview), self._trend.add(began, overview)
                self._latest = LiveSnapshot(snapshot_id, overview, rates, trend)
            self._tell()
            await asyncio.sleep(max(began + self._interval - now(), self._interval / 2))

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


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
