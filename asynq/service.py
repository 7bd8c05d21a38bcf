"""A life from start to shutdown, for what consists of loops on a broker: schedulers."""

from __future__ import annotations

import asyncio
import signal
from random import Random
from typing import TYPE_CHECKING

from asynq.backoff import Outage, shared_outage
from asynq.errors import ServerStateError
from asynq.life import Life
from asynq.logs import enable, get_logger
from asynq.signals import run_blocking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.broker import Broker
    from asynq.loops.every import Every

log = get_logger("asynq.scheduler")

LOOP_PATIENCE = 5.0
"""Seconds a shutdown waits for what is under way: a tick, a hook, the answer of a provider."""


class Service(Life):
    """Runs loops from `start` to `shutdown`. It lives once: new, then active, then closed.

    A broker that goes away is waited for. One given by URL belongs to the service, which closes it.
    """

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker, log)
        self._running: Sequence[Every] = ()
        self._told_to_end = asyncio.Event()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; blocks. Uses uvloop where it is installed.

        Raises as `start` does; RuntimeError inside a running event loop, where `serve` is to be awaited.
        """
        handlers = dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._begin_shutdown)
        run_blocking(lambda: self._until_signalled(self.start(), handlers), "await serve()")

    async def serve(self) -> None:
        """Work until shut down. Cancelling it shuts down first. Raises as `start` does."""
        await self.start()
        await self._attend()

    async def start(self) -> None:
        """Begin to work in the running event loop, and return. ServerStateError when it began before."""
        if self._state != "new":
            raise ServerStateError(self._state, "start", "scheduler")
        enable()
        self._state = "active"
        try:
            await self._prepare()
        except BaseException:
            self._state = "new"
            raise
        self._running = self._loops(Random())  # noqa: S311 - jitter
        self._begin(self._work())

    # --- what a service consists of -------------------------------------------------------------------

    async def _prepare(self) -> None:
        """What has to succeed before it works."""

    def _loops(self, rng: Random) -> Sequence[Every]:
        """What it does, again and again."""
        raise NotImplementedError

    async def _finish(self) -> None:
        """What is done when all loops have ended."""

    # --- the rest is its own --------------------------------------------------------------------------

    async def _work(self) -> None:
        shared_outage.set(Outage(log))
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(loop.run()) for loop in self._running]
            await self._told_to_end.wait()
            for loop in self._running:
                loop.stop()
            _, late = await asyncio.wait(parts, timeout=LOOP_PATIENCE)
            for part in late:
                part.cancel()
        if late:
            log.warning("a hook or a provider did not return within %g s: it is given up", LOOP_PATIENCE)
        await self._finish()

    def _begin_shutdown(self) -> None:
        self._told_to_end.set()
