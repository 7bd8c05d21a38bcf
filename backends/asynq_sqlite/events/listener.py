"""Being told of new tasks and of cancellations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Event, Wake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq_sqlite.events.news import News


class QueueListener:
    """A broker's events for one event loop (see asynq.protocol.broker.Listener)."""

    def __init__(self, news: News) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = news
        self._queues: frozenset[str] = frozenset()
        self._events: dict[Event, None] = {}
        self._fresh = asyncio.Event()
        self._following = False
        self._closed = False

    @property
    def armed(self) -> bool:
        """Whether anybody is to be told of queues."""
        return bool(self._queues)

    async def arm(self, queues: Sequence[str]) -> None:
        """See asynq.protocol.broker.Listener: it begins with one Wake."""
        self._refuse_if_closed()
        self._queues = frozenset(queues)
        self._follow(again=True)

    async def disarm(self) -> None:
        """See asynq.protocol.broker.Listener."""
        self._queues = frozenset()

    async def next(self) -> Event:
        """See asynq.protocol.broker.Listener."""
        self._follow()
        while not self._events:
            self._refuse_if_closed()
            self._fresh.clear()
            await self._fresh.wait()
        event = next(iter(self._events))
        del self._events[event]
        return event

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Listener."""
        self._closed = True
        self._news.leave(self)
        self._events.clear()
        self._fresh.set()

    # --- what the news tell, from any thread -----------------------------------------------------------

    def changed(self) -> None:
        """Of no interest: events say more."""

    def hear(self, events: Iterable[Event]) -> None:
        """Something happened."""
        wanted = [event for event in events if self._wants(event)]
        if wanted:
            # A closed loop has nobody left to tell.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take, wanted)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._wants(event) and not self._closed:
                self._add(event)

    def _wants(self, event: Event) -> bool:
        if isinstance(event, Wake):
            queues = self._queues
            return event.queue in queues if event.queue is not None else bool(queues)
        return True

    def _add(self, event: Event) -> None:
        self._events[event] = None
        self._fresh.set()

    def _follow(self, *, again: bool = False) -> None:
        if again or not self._following:
            self._following = True
            self._news.follow(self, afresh=True)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")
