"""LeaseKeeper: extends the leases of a worker's running tasks, in a separate process or in a thread."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from asynq.runtime.backoff import Backoff
from asynq.runtime.interval_loop import wait_with_timeout
from asynq.runtime.logs import get_logger
from asynq.worker.leases.extender_thread import ExtenderThread
from asynq.worker.leases.extension_schedule import CancelMarked, LeaseLost
from asynq.worker.leases.forked_keeper import discard_forked_keeper
from asynq.worker.leases.held_leases import HeldLeases
from asynq.worker.leases.keeper_messages import KeeperSettings, Ready
from asynq.worker.leases.keeper_process import KeeperProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Lease
    from asynq.worker.leases.extension_schedule import LeaseEvent
    from asynq.worker.leases.keeper_messages import KeeperMessage

log = get_logger("asynq.leases")

READY_TIMEOUT = 10.0
"""Seconds within which the process should be ready. Longer leases do not wait for it."""


class LeaseKeeper:
    """Extends leases while they are held, even if the event loop or the interpreter lock is blocked.

    If several processes can use the broker, a keeper process extends the leases, which it reads from shared
    memory. A thread does so until the process is ready, while it is gone or stopped, and for other brokers.
    If this process dies or is stopped, the leases expire. Used from one event loop.

    Args:
        broker: the broker.
        duration: duration of the leases, in milliseconds.
        rng: source of the jitter.
    """

    def __init__(self, broker: Broker, duration: int, *, rng: Random) -> None:
        self._broker = broker
        self._duration = duration
        self._rng = rng
        self._held = HeldLeases()
        self._process: KeeperProcess | None = None
        self._process_ready = False
        self._startup_over = asyncio.Event()
        """Set when the first process is ready or has failed, or when `start` must not wait for it."""
        self._supervision: asyncio.Task[None] | None = None

    async def start(self, notify: Callable[[LeaseEvent], None]) -> None:
        """Start extending leases.

        If leases are shorter than READY_TIMEOUT, this waits for the process, at most READY_TIMEOUT. Before
        the process is ready, a handler that holds the GIL keeps the thread from extending leases, so that a
        short lease could expire.

        Args:
            notify: called on the running event loop with each event.
        """
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._extender = ExtenderThread(
            self._broker,
            self._duration,
            self._held.read,
            self._on_thread_event,
            enabled=self._thread_extends,
        )
        self._extender.start()
        if not (self._broker.capabilities.multi_process and sys.executable):
            discard_forked_keeper()
            return
        try:
            settings = KeeperSettings.of(self._broker, self._duration, self._held.descriptor)
        except Exception as error:  # noqa: BLE001 - pickle may raise anything
            discard_forked_keeper()
            log.warning("the broker cannot be pickled, so a thread extends leases: %s", error)
        else:
            self._supervision = asyncio.create_task(self._supervise(settings), name="asynq-lease-keeper")
            if self._duration < READY_TIMEOUT * 1000:
                await wait_with_timeout(self._startup_over, READY_TIMEOUT)

    def stop_waiting(self) -> None:
        """Make `start` stop waiting for the process, because no more tasks will be taken."""
        self._startup_over.set()

    def hold(self, holds: Mapping[Lease, float]) -> None:
        """Extend these leases until they are released, each for at most so many seconds."""
        self._held.hold(holds, time.monotonic())

    def release(self, leases: Sequence[Lease]) -> None:
        """Stop extending these leases, because their runs are settled."""
        self._held.release(leases)

    async def aclose(self) -> None:
        """Stop extending leases and end the process."""
        self._extender.close()
        # Before anything is awaited: the event loop may have ended.
        self._held.close()
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])

    async def _supervise(self, settings: KeeperSettings) -> None:
        backoff = Backoff(self._rng, first=0.2, cap=30.0)
        while True:
            try:
                self._process = KeeperProcess.spawn(settings, self._on_message)
            except OSError as error:
                self._startup_over.set()
                log.warning("cannot start the lease keeper process, a thread extends leases: %s", error)
                await asyncio.sleep(backoff.pause())
                continue
            try:
                await self._process.ended.wait()
                if self._process_ready:
                    backoff.reset()
            finally:
                self._startup_over.set()
                process, self._process, self._process_ready = self._process, None, False
                await process.close()
            log.warning("the lease keeper process ended and is restarted; meanwhile a thread extends leases")
            await asyncio.sleep(backoff.pause())

    def _thread_extends(self) -> bool:
        """Whether the thread must extend leases. Called on the thread, because the loop may be blocked."""
        process = self._process
        return not self._process_ready or process is None or not process.running

    def _on_thread_event(self, event: LeaseEvent) -> None:
        try:
            self._loop.call_soon_threadsafe(self._on_event, event)
        except RuntimeError:
            log.debug("the event loop is closed, ignoring %s", event)

    def _on_message(self, message: KeeperMessage) -> None:
        match message:
            case Ready():
                self._process_ready = True
                self._startup_over.set()
                log.info("the lease keeper process is ready")
            case LeaseLost() | CancelMarked():
                self._on_event(message)

    def _on_event(self, event: LeaseEvent) -> None:
        if isinstance(event, LeaseLost):
            self._held.release((event.lease,))
        self._notify(event)
