"""Base class of listeners: a background task receives events, a buffer keeps them until they are read."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Event

MAX_BUFFERED_EVENTS = 10_000
"""Maximum unread events. Beyond it the oldest are dropped."""


class BackgroundListener(ABC):
    """Base class of listeners (see asynq.protocol.broker.Listener). Belongs to one event loop.

    The background task starts with the first use. If a bug ends it, the next call raises the error, and the
    call after that starts a new task. An event equal to an unread one is dropped.
    """

    def __init__(self, name: str) -> None:
        """`name` is the name of the background task."""
        self._name = name
        self._events: dict[Event, None] = {}
        self._available = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    @abstractmethod
    def live(self) -> bool:
        """See Listener."""

    @abstractmethod
    async def arm(self, queues: Sequence[str]) -> None:
        """See Listener."""

    @abstractmethod
    async def _run(self) -> None:
        """Receive events and pass them to `_put`, until cancelled."""

    async def disarm(self) -> None:
        """See Listener."""
        await self.arm(())

    async def next(self) -> Event:
        """See Listener."""
        while True:
            self._ensure_running()
            if self._events:
                event = next(iter(self._events))
                del self._events[event]
                return event
            self._available.clear()
            await self._available.wait()

    async def aclose(self) -> None:
        """See Listener."""
        self._closed = True
        self._available.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _ensure_running(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")
        if self._task is not None and failed(self._task):
            task, self._task = self._task, None
            task.result()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)
            self._task.add_done_callback(lambda _: self._available.set())

    def _put(self, event: Event) -> None:
        self._events[event] = None
        if len(self._events) > MAX_BUFFERED_EVENTS:
            del self._events[next(iter(self._events))]
        self._available.set()


def failed(task: asyncio.Task[None]) -> bool:
    """True if a bug ended the task; its `result()` raises it."""
    return task.done() and not task.cancelled()
