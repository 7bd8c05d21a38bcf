"""Start, run and shutdown of Scheduler and PeriodicTaskManager: base class BaseScheduler."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from asynq.errors import ServerStateError
from asynq.runtime import timeouts
from asynq.runtime.blocking_run import run_blocking
from asynq.runtime.error_reporter import Outage, shared_outage
from asynq.runtime.lifecycle import Lifecycle
from asynq.runtime.logs import get_logger
from asynq.runtime.loop_monitor import LoopMonitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker
    from asynq.runtime.interval_loop import IntervalLoop

log = get_logger("asynq.scheduler")

USER_CALL_TIMEOUT = 5.0
"""Seconds a shutdown waits for a running hook or config provider."""
STALL_WARNING = 1.0
"""Seconds for which a hook or config provider may block the event loop before this is logged."""
BROKER_CALL_TIMEOUT = 1.0
"""Seconds a shutdown waits for a reply of the broker."""


class BaseScheduler(Lifecycle):
    """Runs background loops from `start` to `shutdown`.

    Its states are new, active and closed. It cannot be restarted. While the broker is unreachable, it
    retries. If it was given a URL, it owns the broker and closes it.
    """

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker, log)
        self._running: Sequence[IntervalLoop] = ()
        self._ending = asyncio.Event()
        self._forced = asyncio.Event()
        self._monitor = LoopMonitor(warning=STALL_WARNING, describe=_description)

    @property
    def loop_lag(self) -> timedelta:
        """How long its event loop has been blocked; zero while it is responsive. From any thread."""
        return timedelta(seconds=self._monitor.lag)

    def run(self) -> None:
        """Enqueue periodic tasks until SIGTERM or SIGINT. Blocks. Uses uvloop if it is installed.

        A second signal, at least one second after the first, shuts down without waiting for hooks and
        config providers.

        Raises:
            RuntimeError: an event loop is already running in this thread; use `await serve()`.
            ServerStateError: as `start`.
        """
        run_blocking(lambda: self._run_until_signal(self.start()), "await serve()")

    async def serve(self) -> None:
        """Enqueue periodic tasks in the running event loop until it is shut down.

        Cancelling it shuts down gracefully before it returns.

        Raises:
            ServerStateError: as `start`.
        """
        await self._serve(self.start())

    async def start(self) -> None:
        """Start enqueuing periodic tasks in the running event loop, and return.

        Raises:
            ServerStateError: it was started or shut down before.
        """
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
        self._start_main(self._work())

    # --- for subclasses -------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        """Called by `start`. An error here is raised by `start`."""

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        """The background loops to run."""
        raise NotImplementedError

    @property
    def _calls_user(self) -> bool:
        """Whether a hook or config provider is running."""
        raise NotImplementedError

    async def _finish(self, *, answered: bool) -> None:
        """Called when all loops have ended. `answered`: the broker answered until then."""

    # --- lifecycle ------------------------------------------------------------------------------------

    async def _work(self) -> None:
        shared_outage.set(Outage(log))
        self._monitor.start()
        try:
            await self._run_loops()
        finally:
            self._monitor.close()

    async def _run_loops(self) -> None:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(loop.run()) for loop in self._running]
            await self._ending.wait()
            for loop in self._running:
                loop.stop()
            _, late = await timeouts.wait(parts, min(BROKER_CALL_TIMEOUT, USER_CALL_TIMEOUT))
            if late and self._calls_user:
                await self._wait_for_user(late)
            for part in parts:
                part.cancel()
        await self._finish(answered=not late)

    async def _wait_for_user(self, parts: set[asyncio.Task[None]]) -> None:
        """Wait for a running hook or config provider."""
        forced = asyncio.create_task(self._forced.wait())
        ending = asyncio.create_task(asyncio.wait(parts))
        await timeouts.wait(
            (ending, forced),
            USER_CALL_TIMEOUT - BROKER_CALL_TIMEOUT,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not ending.done():
            log.warning("a hook or config provider did not return in time and is cancelled")
        ending.cancel()
        forced.cancel()

    @property
    def _drain_timeout(self) -> float:
        return USER_CALL_TIMEOUT

    @property
    def _draining(self) -> bool:
        return self._state != "active" or self._ending.is_set()

    def _begin_shutdown(self) -> None:
        self._ending.set()

    def _force_shutdown(self) -> None:
        self._forced.set()


def _description(task: asyncio.Task[Any] | None) -> str:
    return "no coroutine" if task is None else f"the coroutine {task.get_name()}"
