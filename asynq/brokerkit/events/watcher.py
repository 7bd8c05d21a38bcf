"""Changes of tasks for one event loop: any change completes every future; the caller then reads its task."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq.brokerkit.events.notifier import Notifier
    from asynq.protocol.broker import Event
    from asynq.runtime.loop_local import LoopState


class NotifiedWatcher:
    """A Watcher that a Notifier feeds while anybody waits. See asynq.protocol.broker.Watcher."""

    def __init__(self, notifier: Notifier) -> None:
        self._loop = asyncio.get_running_loop()
        self._notifier = notifier
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def armed(self) -> bool:
        """False: a watcher does not listen to queues."""
        return False

    @property
    def urgent(self) -> bool:
        """True: it is subscribed while somebody waits."""
        return True

    async def watch(self, queue: str, task_id: str) -> asyncio.Future[None]:  # noqa: ARG002 - see the module
        """See asynq.protocol.broker.Watcher."""
        change: asyncio.Future[None] = self._loop.create_future()
        change.add_done_callback(self._leave)
        self._waiting.add(change)
        if len(self._waiting) == 1:
            self._notifier.subscribe(self)
        return change

    async def aclose(self) -> None:
        """See asynq.protocol.broker.Watcher."""
        self._complete()
        self._notifier.unsubscribe(self)

    def drop(self, loop: LoopState) -> None:
        """Close without waiting. See asynq.runtime.loop_local."""
        # An inherited notifier does nothing, and a thread of the parent process may have held its locks.
        if loop != "inherited":
            self._notifier.unsubscribe(self)

    # --- called by the notifier, on any thread -----------------------------------------------------------

    def on_change(self) -> None:
        """Complete all futures."""
        # A closed event loop has nobody who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._complete)

    def on_events(self, events: Iterable[Event]) -> None:
        """Do nothing: events name queues, not tasks."""

    def _complete(self) -> None:
        for change in list(self._waiting):
            if not change.done():
                change.set_result(None)

    def _leave(self, change: asyncio.Future[None]) -> None:
        self._waiting.discard(change)
        if not self._waiting:
            self._notifier.unsubscribe(self)
