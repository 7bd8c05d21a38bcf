"""Holds the leases of a worker's running tasks."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

from asynq.runtime.backoff import Backoff
from asynq.runtime.interval_loop import wait_with_timeout
from asynq.runtime.logs import get_logger
from asynq.worker.leases.extender import Extender
from asynq.worker.leases.extension_schedule import CancelMarked, LeaseLost
from asynq.worker.leases.keeper_messages import Hello, HoldLeases, Ready, ReleaseLeases, write
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
"""Seconds within which the process should be ready; leases that last longer need not wait for it."""


class LeaseKeeper:
    """Extends leases while they are held, whatever the event loop and the GIL of this process do.

    A process of its own extends them where the broker can be shared between processes; until it is ready,
    whenever it is gone or stopped, and with other brokers a thread does. Leases lapse when this process dies
    or is stopped. Used from one event loop.
    """

    def __init__(self, broker: Broker, duration: int, *, rng: Random) -> None:
        """`duration` of the leases in milliseconds."""
        self._broker = broker
        self._duration = duration
        self._rng = rng
        self._process: KeeperProcess | None = None
        self._attended = False
        self._settled = asyncio.Event()
        """Set when the first process is ready, has failed to be, or is not waited for."""
        self._supervision: asyncio.Task[None] | None = None

    async def start(self, notify: Callable[[LeaseEvent], None]) -> None:
        """Begin. The process becomes ready in its own time; short leases wait for it, at most READY_TIMEOUT.

        Until then a handler that holds the GIL keeps the thread from extending a lease: one that could lapse
        meanwhile must not be taken yet. `notify` is called on the running event loop.
        """
        self._notify = notify
        self._loop = asyncio.get_running_loop()
        self._extender = Extender(self._broker, self._duration, self._from_thread, permitted=self._unattended)
        self._extender.start()
        if not (self._broker.capabilities.multi_process and sys.executable):
            return
        try:
            hello = write(Hello(self._broker, self._duration, os.getpid()))
        except Exception as error:  # noqa: BLE001 - what pickle raises is not bounded
            log.warning("the broker cannot be pickled, so a thread extends leases: %s", error)
        else:
            self._supervision = asyncio.create_task(self._supervise(hello), name="asynq-lease-keeper")
            if self._duration < READY_TIMEOUT * 1000:
                await wait_with_timeout(self._settled, READY_TIMEOUT)

    def hasten(self) -> None:
        """Do not let `start` wait for the process any longer: no more tasks are taken."""
        self._settled.set()

    def hold(self, holds: Mapping[Lease, float]) -> None:
        """Extend these leases from now on, until released but each at most for so many seconds."""
        now = time.monotonic()
        self._extender.hold(holds, now)
        if self._process is not None:
            self._process.tell(HoldLeases(holds, now))

    def release(self, leases: Sequence[Lease]) -> None:
        """These runs are settled: leave their leases alone."""
        self._extender.release(leases)
        if self._process is not None:
            self._process.tell(ReleaseLeases(leases))

    async def aclose(self) -> None:
        """Extend nothing more."""
        self._extender.close()
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.wait([self._supervision])

    async def _supervise(self, hello: bytes) -> None:
        backoff = Backoff(self._rng, first=0.2, cap=30.0)
        while True:
            try:
                self._process = KeeperProcess.spawn(hello, self._heard)
            except OSError as error:
                self._settled.set()
                log.warning("the lease keeper process cannot be started (a thread does its work): %s", error)
                await asyncio.sleep(backoff.pause())
                continue
            try:
                now = time.monotonic()
                self._process.tell(HoldLeases(self._extender.held(now), now))
                await self._process.ended.wait()
                if self._attended:
                    backoff.reset()
            finally:
                self._settled.set()
                process, self._process, self._attended = self._process, None, False
                await process.close()
            log.warning("the lease keeper process ended (a thread does its work); it is started again")
            await asyncio.sleep(backoff.pause())

    def _unattended(self) -> bool:
        """Whether the thread must extend leases. It asks itself: the event loop may be held up."""
        process = self._process
        return not self._attended or process is None or not process.running

    def _from_thread(self, event: LeaseEvent) -> None:
        try:
            self._loop.call_soon_threadsafe(self._happened, event)
        except RuntimeError:
            log.debug("the event loop is closed: nobody is left to hear of %s", event)

    def _heard(self, said: KeeperMessage) -> None:
        match said:
            case Ready():
                self._attended = True
                self._settled.set()
                log.info("the lease keeper process is ready")
            case LeaseLost() | CancelMarked():
                self._happened(said)

    def _happened(self, event: LeaseEvent) -> None:
        if isinstance(event, LeaseLost):
            self._extender.release((event.lease,))
        self._notify(event)
