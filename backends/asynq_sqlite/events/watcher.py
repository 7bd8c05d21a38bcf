"""Telling of changes to tasks: whoever waits is told of any change, and looks whether it was theirs."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq.protocol.broker import Event
    from asynq.runtime.loop_local import LoopState
    from asynq_sqlite.events.news import News


class TaskWatcher:
    """See asynq.protocol.broker.Watcher. It follows the news while anybody waits."""

    def __init__(self, news: News) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = news
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def armed(self) -> bool:
        """It hears of any change, not of queues."""
        return False

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:  # noqa: ARG002 - see the module
        """See asynq.protocol.broker.Watcher."""
        change: asyncio.Future[None] = self._loop.create_future()
        change.add_done_callback(self._left)
        self._waiting.add(change)
        if len(self._waiting) == 1:
            self._news.follow(self)
        return change

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Watcher."""
        self._tell()
        self._news.leave(self)

    def drop(self, loop: LoopState) -> None:
        """`aclose`, without waiting; see asynq.runtime.loop_local."""
        # What came through a fork looks at nothing, and its locks may be held by a thread of the parent.
        if loop != "inherited":
            self._news.leave(self)

    # --- what the news tell, from any thread -----------------------------------------------------------

    def changed(self) -> None:
        """Something changed."""
        # A closed loop has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell)

    def hear(self, events: Iterable[Event]) -> None:
        """Of no interest: they name queues."""

    def _tell(self) -> None:
        for change in list(self._waiting):
            if not change.done():
                change.set_result(None)

    def _left(self, change: asyncio.Future[None]) -> None:
        self._waiting.discard(change)
        if not self._waiting:
            self._news.leave(self)
