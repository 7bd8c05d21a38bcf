"""A life from start to shutdown, for what consists of loops on a broker: schedulers."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

from asynq.errors import ServerStateError
from asynq.runtime import timeouts
from asynq.runtime.backoff import Outage, shared_outage
from asynq.runtime.blocking_run import run_blocking
from asynq.runtime.lifecycle import Lifecycle
from asynq.runtime.logs import get_logger
from asynq.runtime.loop_monitor import LoopMonitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker
    from asynq.runtime.interval_loop import IntervalLoop

log = get_logger("asynq.scheduler")

USER_CALL_TIMEOUT = 5.0
"""Seconds a shutdown waits for a hook or the answer of a provider."""
STALL_WARNING = 1.0
"""Seconds for which a hook or a provider may block the event loop until that is logged."""
BROKER_CALL_TIMEOUT = 1.0
"""Seconds it waits for a tick or a heartbeat that the broker does not answer."""


class BaseScheduler(Lifecycle):
    """Runs loops from `start` to `shutdown`. It lives once: new, then active, then closed.

    A broker that goes away is waited for. One given by URL belongs to the service, which closes it.
    """

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker, log)
        self._running: Sequence[IntervalLoop] = ()
        self._told_to_end = asyncio.Event()
        self._hurried = asyncio.Event()

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; blocks. Uses uvloop where it is installed.

        A second signal, at least one second after the first, waits no longer for hooks and providers.
        Raises as `start` does; RuntimeError inside a running event loop, where `serve` is to be awaited.
        """
        run_blocking(lambda: self._until_signalled(self.start()), "await serve()")

    async def serve(self) -> None:
        """Work until shut down. Cancelling it shuts down first. Raises as `start` does."""
        await self._serve(self.start())

    async def start(self) -> None:
        """Begin to work in the running event loop, and return. ServerStateError when it began before."""
        if self._state != "new":
            raise ServerStateError(self._state, "start", "scheduler")
        self._state = "active"
        try:
            await self._prepare()
        except BaseException:
            if self._state == "active":
                self._state = "new"
            raise
        if self._state != "active":
            raise ServerStateError(self._state, "start", "scheduler")
        self._running = self._loops(Random())  # noqa: S311 - jitter
        log.info("enqueuing periodic tasks on %r", self._broker)
        self._begin(self._work())

    # --- what a service consists of -------------------------------------------------------------------

    async def _prepare(self) -> None:
        """What has to succeed before it works."""

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        """What it does, again and again."""
        raise NotImplementedError

    @property
    def _calls_user(self) -> bool:
        """Whether a hook or a provider is under way."""
        raise NotImplementedError

    async def _finish(self, *, answered: bool) -> None:
        """What is done when all loops have ended; answered: the broker answered until then."""

    # --- the rest is its own --------------------------------------------------------------------------

    async def _work(self) -> None:
        shared_outage.set(Outage(log))
        monitor = LoopMonitor(warning=STALL_WARNING, culprit=_culprit)
        monitor.start()
        try:
            await self._run_loops()
        finally:
            monitor.close()

    async def _run_loops(self) -> None:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(loop.run()) for loop in self._running]
            await self._told_to_end.wait()
            for loop in self._running:
                loop.stop()
            _, late = await timeouts.wait(parts, min(BROKER_CALL_TIMEOUT, USER_CALL_TIMEOUT))
            if late and self._calls_user:
                await self._wait_for_user(late)
            for part in parts:
                part.cancel()
        await self._finish(answered=not late)

    async def _wait_for_user(self, parts: set[asyncio.Task[None]]) -> None:
        """Wait for a hook or a provider under way."""
        hurried = asyncio.create_task(self._hurried.wait())
        ending = asyncio.create_task(asyncio.wait(parts))
        await timeouts.wait(
            (ending, hurried),
            USER_CALL_TIMEOUT - BROKER_CALL_TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not ending.done():
            log.warning("a hook or a provider did not return in time: it is given up")
        ending.cancel()
        hurried.cancel()

    @property
    def _patience(self) -> float:
        return USER_CALL_TIMEOUT

    def _begin_shutdown(self) -> None:
        self._told_to_end.set()

    def _hurry(self) -> None:
        self._hurried.set()


def _culprit(task: asyncio.Task[Any] | None) -> str:
    return "no coroutine" if task is None else f"the coroutine {task.get_name()}"
