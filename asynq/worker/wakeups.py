"""Wake-ups: listens to the broker for new tasks and for requests to cancel a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynq.protocol.broker import Wake
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.interval_loop import (
    FALLBACK_POLL_INTERVAL,
    LIVE_POLL_INTERVAL,
    NO_PUSH_POLL_INTERVAL,
    wait_with_timeout,
)
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.protocol.broker import Broker, CancelRequested

log = get_logger("asynq.wakeups")

LIVENESS_CHECK_INTERVAL = 1.0
"""Seconds between two checks whether notifications still arrive. A check asks nobody."""


class Wakeups:
    """Listens for cancellations at all times, and for new tasks while armed.

    Args:
        broker: the broker.
        queues: the queues to listen to.
        on_wake: called when a queue may have tasks. It is also called when notifications may have stopped to
            arrive, because pauses have to be shorter then.
        on_cancel: called with a request to cancel a run.
        rng: source of the jitter.
        longest_poll: maximum of `poll`.
    """

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        *,
        on_wake: Callable[[Wake], None],
        on_cancel: Callable[[CancelRequested], None],
        rng: Random,
        longest_poll: float = LIVE_POLL_INTERVAL,
    ) -> None:
        self._longest_poll = longest_poll
        self._listener = broker.listener()
        self._queues = queues
        self._on_wake = on_wake
        self._on_cancel = on_cancel
        self._rng = rng
        self._can_be_armed = broker.capabilities.wakeup == "push"
        self._armed = False
        self._wanted = False
        self._outdated = False
        """Whether the queues have changed since they were listened to."""
        self._was_live = False
        self._changed = asyncio.Event()
        self._stopped = asyncio.Event()

    @property
    def armed(self) -> bool:
        """Whether `on_wake` is called for queues that get tasks. If not `live`, a call may be missing."""
        return self._armed

    @property
    def live(self) -> bool:
        """Whether every change of the queues is certain to be heard, including tasks that others take."""
        return self._armed and self._listener.live

    @property
    def poll(self) -> float:
        """Seconds until the next poll."""
        if not self._armed:
            return NO_PUSH_POLL_INTERVAL
        return self._longest_poll if self._listener.live else FALLBACK_POLL_INTERVAL

    def queues_changed(self) -> None:
        """Listen to the present queues instead of earlier ones."""
        self._outdated = True
        self._changed.set()

    def arm(self) -> None:
        """Listen for new tasks from now on."""
        self._want(armed=True)

    def disarm(self) -> None:
        """Stop listening for new tasks."""
        self._want(armed=False)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()
        self._changed.set()

    async def run(self) -> None:
        """Listen until `stop` is called."""
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
        backoff, errors = Backoff(self._rng), ErrorReporter(log, "subscribing to wake-ups")
        while not self._stopped.is_set():
            self._changed.clear()
            try:
                if self._wanted and (self._outdated or not self._armed):
                    self._outdated = False
                    await self._listener.arm(self._queues[:])
                    self._armed = True
                    # Tasks enqueued before arming caused no event.
                    self._on_wake(Wake())
                elif self._armed and not self._wanted:
                    self._armed = False
                    self._check_liveness()
                    await self._listener.disarm()
            except Exception as error:  # noqa: BLE001 - polling continues after any error
                self._outdated = True
                errors.failed(error)
                await wait_with_timeout(self._stopped, backoff.pause())
                continue
            # Arming may return before the broker has answered.
            errors.worked(broker_answered=False)
            backoff.reset()
            while self._wanted == self._armed and not self._changed.is_set():
                await wait_with_timeout(self._changed, LIVENESS_CHECK_INTERVAL if self._armed else None)
                self._check_liveness()

    def _check_liveness(self) -> None:
        was_live, self._was_live = self._was_live, self.live
        if was_live and not self._was_live:
            self._on_wake(Wake())

    async def _listen(self) -> None:
        backoff, errors = Backoff(self._rng), ErrorReporter(log, "listening")
        while True:
            try:
                event = await self._listener.next()
                if isinstance(event, Wake):
                    self._on_wake(event)
                else:
                    self._on_cancel(event)
            except Exception as error:  # noqa: BLE001 - polling continues after any error
                errors.failed(error)
                await asyncio.sleep(backoff.pause())
                continue
            errors.worked()
            backoff.reset()
