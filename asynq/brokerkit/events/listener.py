"""Events for one event loop: wake-ups of queues, and cancellations."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Event, Wake

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq.brokerkit.events.notifier import Notifier


class NotifiedListener:
    """A Listener that a Notifier feeds. See asynq.protocol.broker.Listener."""

    def __init__(self, notifier: Notifier) -> None:
        self._loop = asyncio.get_running_loop()
        self._notifier = notifier
        self._queues: frozenset[str] = frozenset()
        self._events: dict[Event, None] = {}
        self._arrived = asyncio.Event()
        self._subscribed = False
        self._closed = False

    @property
    def armed(self) -> bool:
        """Whether any queues are listened to."""
        return bool(self._queues)

    @property
    def urgent(self) -> bool:
        """Whether any queues are listened to: a busy worker only wants to hear of cancellations."""
        return bool(self._queues)

    @property
    def live(self) -> bool:
        """See asynq.protocol.broker.Listener: a Dequeue causes no event here."""
        return False

    async def arm(self, queues: Sequence[str]) -> None:
        """See asynq.protocol.broker.Listener: the first event is a Wake."""
        self._refuse_if_closed()
        self._queues = frozenset(queues)
        self._subscribe(again=True)

    async def disarm(self) -> None:
        """See asynq.protocol.broker.Listener."""
        self._queues = frozenset()

    async def next(self) -> Event:
        """See asynq.protocol.broker.Listener."""
        self._subscribe()
        while not self._events:
            self._refuse_if_closed()
            self._arrived.clear()
            await self._arrived.wait()
        event = next(iter(self._events))
        del self._events[event]
        return event

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Listener."""
        self._closed = True
        self._notifier.unsubscribe(self)
        self._events.clear()
        self._arrived.set()

    # --- called by the notifier, on any thread -----------------------------------------------------------

    def on_change(self) -> None:
        """Do nothing: events are more precise."""

    def on_events(self, events: Iterable[Event]) -> None:
        """Hand the events to the event loop."""
        wanted = [event for event in events if self._wants(event)]
        if wanted:
            # A closed event loop has nobody who waits.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._add, wanted)

    def _add(self, events: list[Event]) -> None:
        for event in events:
            if self._wants(event) and not self._closed:
                self._events[event] = None
                self._arrived.set()

    def _wants(self, event: Event) -> bool:
        if isinstance(event, Wake):
            queues = self._queues
            return event.queue in queues if event.queue is not None else bool(queues)
        return True

    def _subscribe(self, *, again: bool = False) -> None:
        if again or not self._subscribed:
            self._subscribed = True
            self._notifier.subscribe(self, wake=True)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")
