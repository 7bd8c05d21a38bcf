"""Listener and watcher for a store that has a counter of its changes, or nothing of the kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Event, Wake

if TYPE_CHECKING:
    from collections.abc import Sequence

TICK: Final = 0.01
"""Seconds between two looks: the counter has to be cheap to read."""

Changes = Callable[[], object]
"""Answers what differs once anything in the store has changed, whoever changed it. Never blocks or raises."""


def never() -> object:
    """The changes of a store that does not tell of them: its capabilities say `wakeup="poll"`."""
    return None


class ChangeListener:
    """See asynq.protocol.broker.Listener: while armed it wakes for any change, in whichever queue."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._news = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._closed = False

    async def arm(self, queues: Sequence[str]) -> None:  # noqa: ARG002 - a change says not where it was
        """See asynq.protocol.broker.Listener."""
        self._refuse_if_closed()
        await self.disarm()
        self._following = asyncio.create_task(_follow(self._changes, self._changes(), self._news.set))
        self._news.set()

    async def disarm(self) -> None:
        """See asynq.protocol.broker.Listener."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def next(self) -> Event:
        """See asynq.protocol.broker.Listener."""
        self._refuse_if_closed()
        await self._news.wait()
        self._refuse_if_closed()
        self._news.clear()
        return Wake()

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Listener."""
        self._closed = True
        self._news.set()
        await self.disarm()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the listener is closed")


class ChangeWatcher:
    """A Watcher that reports every change to everybody, and polls for changes while anybody waits."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._waiting: set[asyncio.Future[None]] = set()
        self._following: asyncio.Task[None] | None = None

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:  # noqa: ARG002 - any change is told
        """See asynq.protocol.broker.Watcher."""
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        change.add_done_callback(self._left)
        self._waiting.add(change)
        if self._following is None:
            # The counter is read here, not in the task: what changes from now on has to show.
            self._following = asyncio.create_task(_follow(self._changes, self._changes(), self._tell))
        return change

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Watcher."""
        self._tell()

    def _tell(self) -> None:
        for change in list(self._waiting):
            if not change.done():
                change.set_result(None)
                self._left(change)

    def _left(self, change: asyncio.Future[None]) -> None:
        self._waiting.discard(change)
        if not self._waiting and self._following is not None:
            self._following.cancel()
            self._following = None


async def _follow(changes: Changes, seen: object, tell: Callable[[], None]) -> None:
    """Tell of every change since `seen`, until cancelled."""
    while True:
        await asyncio.sleep(TICK)
        now = changes()
        if now != seen:
            seen = now
            tell()
