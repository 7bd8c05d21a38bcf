"""Start, shutdown and signals of servers and schedulers: base class Lifecycle."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from asynq.errors import AsynqError, ServerStateError
from asynq.errors.text import error_text
from asynq.protocol.connect import resolve
from asynq.protocol.ops import Ping
from asynq.runtime import timeouts
from asynq.runtime.health import BROKER, DRAINING, LOOP, MAX_LOOP_LAG, STARTED, Health
from asynq.runtime.stop_signals import StopRequests, stop_signals

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine
    from datetime import timedelta

    from asynq.protocol.broker import Broker

State = Literal["new", "active", "stopped", "closed"]

HEALTH_PING_TIMEOUT = 2.0
"""Seconds that a health check waits for the broker."""


class Lifecycle:
    """Base class for objects with a start and a shutdown. An instance cannot be restarted.

    An instance that was given the URL of a broker owns the broker and closes it at shutdown.
    """

    def __init__(self, broker: Broker | str, log: logging.Logger) -> None:
        self._broker, self._owns_broker = resolve(broker)
        self._log = log
        self._state: State = "new"
        self._main: asyncio.Task[None] | None = None
        self._closed: Future[None] = Future()
        """Done when the shutdown is complete. For callers in other event loops."""

    @property
    def state(self) -> State:
        """The current state."""
        return self._state

    @property
    def started(self) -> bool:
        """Whether it has started. It stays true after the end."""
        return self._main is not None

    @property
    def broker(self) -> Broker:
        """The broker, for other objects that use the same one."""
        return self._broker

    @property
    def loop_lag(self) -> timedelta:
        """How long the event loop of this object has been blocked; zero while it is responsive.

        May be read from any thread. It is measured at least twice a second from the start to the end of the
        shutdown, and is zero at other times.
        """
        raise NotImplementedError

    async def health(self, *, max_loop_lag: timedelta = MAX_LOOP_LAG) -> Health:
        """Check whether this works: it is started and not shutting down, and its broker answers.

        Await it on the event loop in which this was started. A broker that does not answer within two
        seconds counts as unreachable. Raises no AsynqError.

        Args:
            max_loop_lag: how long the event loop may be blocked. It is not, where this is awaited.
        """
        failing = self._failing(max_loop_lag)
        if not failing and (reason := await self._broker_failure()):
            failing[BROKER] = reason
        return Health(failing)

    def health_from_thread(self, *, broker: bool, max_loop_lag: timedelta = MAX_LOOP_LAG) -> Health:
        """As `health`, from a thread other than that of the event loop.

        Args:
            broker: whether to ask the broker.
            max_loop_lag: how long the event loop may be blocked.
        """
        failing = self._failing(max_loop_lag)
        if broker and not failing and self._main is not None:
            asking = self._broker_failure()
            try:
                asked = asyncio.run_coroutine_threadsafe(asking, self._main.get_loop())
            except RuntimeError:  # the loop is closed
                asking.close()
                return Health({DRAINING: "it is closed"})
            try:
                reason = asked.result(HEALTH_PING_TIMEOUT + timeouts.GRACE)
            except (TimeoutError, CancelledError):
                asked.cancel()
                reason = f"not asked within {HEALTH_PING_TIMEOUT:g} s: the event loop is busy"
            if reason:
                failing[BROKER] = reason
        return Health(failing)

    def _failing(self, max_loop_lag: timedelta) -> dict[str, str]:
        """The checks that fail, apart from that of the broker, with the reasons. From any thread."""
        failing: dict[str, str] = {}
        if self._state == "new":
            failing[STARTED] = "it is starting"
        elif self._draining:
            failing[DRAINING] = "it is closed" if self._state == "closed" else "it takes no new tasks"
        if (lag := self.loop_lag) > max_loop_lag:
            failing[LOOP] = f"the event loop has been blocked for {lag.total_seconds():.0f} s"
        return failing

    @property
    def _draining(self) -> bool:
        return self._state != "active"

    async def _broker_failure(self) -> str:
        """Why the broker does not answer; empty if it does."""
        try:
            async with timeouts.timeout(HEALTH_PING_TIMEOUT):
                await self._broker.aexecute(Ping())
        except TimeoutError:
            return f"no answer within {HEALTH_PING_TIMEOUT:g} s"
        except AsynqError as error:
            return error_text(error)
        return ""

    async def shutdown(self) -> None:
        """Finish the work in progress, settle all tasks and free all resources. Returns when this is done.

        It may be awaited several times, before a start, and from another event loop or thread.

        Raises:
            RuntimeError: the event loop in which it was started no longer runs.
        """
        if self._main is None:
            if self._state != "closed":
                self._state = "closed"
                await self._close_broker()
            return
        loop = self._main.get_loop()
        if loop is not asyncio.get_running_loop() and not self._main.done():
            if not loop.is_running():
                raise RuntimeError("cannot shut down: the event loop in which it was started does not run")
            loop.call_soon_threadsafe(self._begin_shutdown)
            await asyncio.shield(asyncio.wrap_future(self._closed))
            return
        self._begin_shutdown()
        await self._wait_for_main()

    def _call_on_loop(self, call: Callable[[], None]) -> None:
        """Call a function on the event loop in which this was started. From any thread."""
        if self._main is None:
            return
        loop = self._main.get_loop()
        if _running_loop() is loop:
            call()
        else:
            with suppress(RuntimeError):  # the loop is closed: everything has ended
                loop.call_soon_threadsafe(call)

    @property
    def _drain_timeout(self) -> float:
        """How many seconds a shutdown waits for running work to finish."""
        raise NotImplementedError

    def _begin_shutdown(self) -> None:
        """Make the main task end gracefully."""
        raise NotImplementedError

    @property
    def _on_sigtstp(self) -> Callable[[], None] | None:
        """The handler of SIGTSTP. None: SIGTSTP is not handled."""
        return None

    def _force_shutdown(self) -> None:
        """Stop waiting for running work. Only called after `_begin_shutdown`."""
        raise NotImplementedError

    def _start_main(self, work: Coroutine[Any, Any, None]) -> None:
        """Run the work in a task. When the work ends, this closes."""
        self._main = asyncio.create_task(self._run_main(work), name=self._log.name)
        self._main.add_done_callback(self._log_crash)

    async def _run_main(self, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._state = "closed"
            try:
                await self._close_broker()
                self._report_closed()
            finally:
                self._closed.set_result(None)

    def _report_closed(self) -> None:
        self._log.info("closed")

    def _log_crash(self, main: asyncio.Task[None]) -> None:
        if not main.cancelled() and (error := main.exception()):
            self._log.critical("the %s crashed", type(self).__name__, exc_info=error)

    async def _wait_until_closed(self) -> None:
        """Wait for the end. The first cancellation shuts down gracefully, a later one forces the shutdown."""
        requests, cancelled = StopRequests(), None
        while self._main is not None and not self._main.done():
            try:
                await asyncio.wait([self._main])
            except asyncio.CancelledError as error:
                cancelled = error
                match requests.received():
                    case "first":
                        self._begin_shutdown()
                    case "again":
                        self._force_shutdown()
        if cancelled is not None:
            raise cancelled
        await self._wait_for_main()

    async def _serve(self, start: Awaitable[None]) -> None:
        """Start, and wait until closed. A cancellation shuts down gracefully, also during the start."""
        try:
            await start
        except asyncio.CancelledError:
            await self.shutdown()
            raise
        await self._wait_until_closed()

    async def _wait_for_main(self) -> None:
        if self._main is not None:
            # Cancelling a waiting caller must not cancel the main task.
            await asyncio.shield(self._main)

    def _replace_broker(self, broker: Broker | str) -> None:
        """Use another broker, before the start."""
        given = resolve(broker)
        if self._owns_broker:
            self._broker.close()
        self._broker, self._owns_broker = given

    def _check_new(self, what: str = "server") -> None:
        """Raise ServerStateError if this was started or shut down, also during its start."""
        if self._state != "new":
            raise ServerStateError(self._state, "start", what)

    async def _close_broker(self) -> None:
        if self._owns_broker:
            await self._broker.aclose()
            self._broker.close()

    async def _run_until_signal(self, start: Coroutine[Any, Any, None]) -> None:
        """Start, and wait until a signal has shut this down. For an event loop that only serves this."""
        starting = asyncio.create_task(start)

        def stop() -> None:
            if self._main is None:
                starting.cancel()
            else:
                self._log.info(
                    "shutting down: waiting up to %g s for running work; a second signal stops the wait",
                    self._drain_timeout,
                )
                self._begin_shutdown()

        def force() -> None:
            if self._main is not None:
                self._force_shutdown()

        signals = stop_signals(asyncio.get_running_loop(), stop=stop, force=force, sigtstp=self._on_sigtstp)
        try:
            with signals:
                await asyncio.wait([starting])
                if starting.cancelled():
                    self._log.info("stopped during startup")
                    await self.shutdown()
                else:
                    starting.result()
                    await self._wait_until_closed()
        finally:
            # This event loop ends here. Its connections cannot be used by another one.
            await self._broker.aclose()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
