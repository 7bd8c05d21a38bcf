"""Hears from the broker that tasks may have come, or that a run shall end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynq.protocol.broker import Wake
from asynq.runtime.backoff import Backoff, ErrorReporter
from asynq.runtime.interval_loop import POLL_INTERVAL, POLL_INTERVAL_WITHOUT_PUSH, wait_with_timeout
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.protocol.broker import Broker, CancelRequested

log = get_logger("asynq.wakeups")


class Wakeups:
    """Listens for cancellations always, for new tasks only while asked to: while the worker is idle."""

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        *,
        woken: Callable[[str | None], None],
        cancelled: Callable[[CancelRequested], None],
        rng: Random,
    ) -> None:
        self._listener = broker.listener()
        self._queues = queues
        self._woken = woken
        self._cancelled = cancelled
        self._rng = rng
        self._can_be_armed = broker.capabilities.wakeup == "push"
        self._armed = False
        self._wanted = False
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def poll(self) -> float:
        """Seconds after which to look in any case."""
        return POLL_INTERVAL if self._armed else POLL_INTERVAL_WITHOUT_PUSH

    def arm(self) -> None:
        """Ask to be woken by new tasks."""
        self._want(armed=True)

    def disarm(self) -> None:
        """Be woken no more: there is enough to do."""
        self._want(armed=False)

    def stop(self) -> None:
        """Listen no more."""
        self._stopped.set()
        self._changed.set()

    async def run(self) -> None:
        """Listen until stopped."""
        listening = asyncio.create_task(self._listen(), name="asynq-listener")
        try:
            await self._keep_armed()
        finally:
            listening.cancel()
            await asyncio.wait([listening])
            await self._listener.aclose()

    def _want(self, *, armed: bool) -> None:
        if armed != self._wanted and self._can_be_armed:
            self._wanted = armed
            self._changed.set()

    async def _keep_armed(self) -> None:
        backoff, troubles = Backoff(self._rng), ErrorReporter(log, "asking to be woken")
        while not self._stopped.is_set():
            self._changed.clear()
            try:
                if self._wanted and not self._armed:
                    await self._listener.arm(self._queues)
                    self._armed = True
                    # What came before the arming told nobody.
                    self._woken(None)
                elif self._armed and not self._wanted:
                    self._armed = False
                    await self._listener.disarm()
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on
                troubles.failed(error)
                await wait_with_timeout(self._stopped, backoff.pause())
                continue
            # Arming may wait for a connection beside it.
            troubles.worked(heard=False)
            backoff.reset()
            if self._wanted == self._armed:
                await self._changed.wait()

    async def _listen(self) -> None:
        backoff, troubles = Backoff(self._rng), ErrorReporter(log, "listening")
        while True:
            try:
                event = await self._listener.next()
                if isinstance(event, Wake):
                    self._woken(event.queue)
                else:
                    self._cancelled(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on
                troubles.failed(error)
                await asyncio.sleep(backoff.pause())
                continue
            troubles.worked()
            backoff.reset()
