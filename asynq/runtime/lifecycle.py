"""Start, shutdown and signals of servers and schedulers: base class Lifecycle."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from asynq.errors import ServerStateError
from asynq.protocol.connect import resolve
from asynq.runtime.stop_signals import StopRequests, stop_signals

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine

    from asynq.protocol.broker import Broker

State = Literal["new", "active", "stopped", "closed"]


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
