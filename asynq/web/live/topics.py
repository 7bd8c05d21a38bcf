"""`LiveTopics`: what browsers watch, each read once for all that watch it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from asynq.runtime.timeouts import timeout
from asynq.web.api.errors import RequestError
from asynq.web.live.poller import LivePoller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable, Sequence

    from asynq.web.live.poller import LiveSnapshot

KEEP_ALIVE = 15.0
"""Seconds without news after which a stream says that it is still there."""


@frozen
class Topic:
    """Something that is read again and again: a kind of thing, with its parameters."""

    key: Hashable
    """Topics with equal keys are one: they are read once."""
    read: Callable[[], Awaitable[Any]] = field(eq=False)


class LiveTopics:
    """All topics that are watched. Use it on one event loop.

    A watcher that is slow misses snapshots, and gets the latest one when it is ready.

    Args:
        interval: Seconds between two reads of a topic.
        max_watchers: The most watchers at the same time.
        max_topics: The most topics at the same time: they bound what the broker is asked.
    """

    def __init__(self, interval: float, *, max_watchers: int, max_topics: int) -> None:
        self._interval = interval
        self._max_watchers = max_watchers
        self._max_topics = max_topics
        self._pollers: dict[Topic, LivePoller] = {}
        self._ears: set[asyncio.Event] = set()
        self._closed = False

    @property
    def watchers(self) -> int:
        """How many there are."""
        return len(self._ears)

    @property
    def topics(self) -> int:
        """How many are read."""
        return len(self._pollers)

    def latest(self, topic: Topic) -> LiveSnapshot | None:
        """The latest snapshot of a topic; None if nobody watches it."""
        poller = self._pollers.get(topic)
        return None if poller is None else poller.latest

    async def watch(
        self,
        topics: Sequence[Topic],
        seen: Iterable[str] = (),
        keep_alive: float = KEEP_ALIVE,
        *,
        fresh: bool = False,
    ) -> AsyncGenerator[tuple[Topic, LiveSnapshot] | None, None]:
        """The latest snapshot of each topic, and each later one; None after a while without any.

        Args:
            topics: What to watch.
            seen: Ids of the snapshots that the watcher has: those are left out.
            keep_alive: Seconds without a snapshot after which None comes.
            fresh: Whether reads are left out that began before the watcher came. They are older than what it
                has read itself, such as a page that was loaded after a change.

        Raises:
            RequestError: There are too many watchers or topics.
        """
        self.check_room(topics)
        ear = asyncio.Event()
        self._ears.add(ear)
        known, shown = set(seen), dict[Topic, str]()
        pollers = {topic: self._join(topic, ear) for topic in topics}
        old = {topic: poller.begun if fresh else 0 for topic, poller in pollers.items()}
        try:
            while not self._closed:
                ear.clear()
                for topic, poller in pollers.items():
                    latest = poller.latest
                    if latest is None or latest.number <= old[topic] or latest.id == shown.get(topic):
                        continue
                    shown[topic] = latest.id
                    if latest.id not in known:
                        yield topic, latest
                try:
                    async with timeout(keep_alive):
                        await ear.wait()
                except TimeoutError:
                    yield None
        finally:
            self._ears.discard(ear)
            for topic in pollers:
                self._leave(topic, ear)

    def check_room(self, topics: Iterable[Topic]) -> None:
        """RequestError if there are too many watchers, or too many topics beside these."""
        headers = {"Retry-After": "30"}
        if len(self._ears) >= self._max_watchers:
            message = f"{len(self._ears)} browsers watch already"
            raise RequestError(503, "too_many_watchers", message, headers)
        if len(self._pollers.keys() | set(topics)) > self._max_topics:
            message = f"{len(self._pollers)} different pages are watched already"
            raise RequestError(503, "too_many_topics", message, headers)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        for ear in self._ears:
            ear.set()

    def _join(self, topic: Topic, ear: asyncio.Event) -> LivePoller:
        poller = self._pollers.get(topic)
        if poller is None:
            poller = self._pollers[topic] = LivePoller(topic.read, self._interval)
        poller.join(ear)
        return poller

    def _leave(self, topic: Topic, ear: asyncio.Event) -> None:
        poller = self._pollers[topic]
        poller.leave(ear)
        if not poller.watchers:
            del self._pollers[topic]
