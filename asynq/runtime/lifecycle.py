"""The life of what works on a broker in the background: servers and schedulers."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from asynq.protocol.connect import resolve
from asynq.runtime.stop_signals import StopRequests, stop_signals

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine

    from asynq.protocol.broker import Broker

State = Literal["new", "active", "stopped", "closed"]


class Lifecycle:
    """Works from its start in an event loop to its shutdown. It is lived once.

    A broker given by URL belongs to it, and is closed with it.
    """

    def __init__(self, broker: Broker | str, log: logging.Logger) -> None:
        self._broker, self._owns_broker = resolve(broker)
        self._log = log
        self._state: State = "new"
        self._life: asyncio.Task[None] | None = None
        self._over: Future[None] = Future()
        """Done at the end of its life, for who waits in another event loop."""

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    async def shutdown(self) -> None:
        """Finish what is in hand, settle everything, free all resources.

        Returns when that is done; also the second time, and when it never started. It may be awaited in
        another event loop and thread than it works in: RuntimeError when its own loop does not run any more.
        """
        if self._life is None:
            if self._state != "closed":
                self._state = "closed"
                await self._close_broker()
            return
        loop = self._life.get_loop()
        if loop is not asyncio.get_running_loop() and not self._life.done():
            if not loop.is_running():
                raise RuntimeError("it cannot shut down: the event loop that it works in does not run")
            loop.call_soon_threadsafe(self._begin_shutdown)
            await asyncio.shield(asyncio.wrap_future(self._over))
            return
        self._begin_shutdown()
        await self._ended()

    def _on_its_loop(self, call: Callable[[], None]) -> None:
        """Call it on the event loop of its life; from any thread."""
        if self._life is None:
            return
        loop = self._life.get_loop()
        if _running_loop() is loop:
            call()
        else:
            with suppress(RuntimeError):  # the loop is closed: everything has ended
                loop.call_soon_threadsafe(call)

    @property
    def _patience(self) -> float:
        """Seconds for which a shutdown lets running work finish."""
        raise NotImplementedError

    def _begin_shutdown(self) -> None:
        """Make the work end."""
        raise NotImplementedError

    @property
    def _quiet(self) -> Callable[[], None] | None:
        """What SIGTSTP does; None to leave it alone."""
        return None

    def _hurry(self) -> None:
        """Make the end wait no longer for what is in hand. Only after `_begin_shutdown`."""
        raise NotImplementedError

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Go about the work; when it ends, life does."""
        self._life = asyncio.create_task(self._live(work), name=self._log.name)
        self._life.add_done_callback(self._mourn)

    async def _live(self, work: Awaitable[None]) -> None:
        try:
            await work
        finally:
            self._state = "closed"
            try:
                await self._close_broker()
                self._log.info("closed")
            finally:
                self._over.set_result(None)

    def _mourn(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (error := life.exception()):
            self._log.critical("the %s broke down", type(self).__name__, exc_info=error)

    async def _attend(self) -> None:
        """Wait for the end. Cancelling this shuts down first; cancelling it again hurries the end."""
        requests, cancelled = StopRequests(), None
        while self._life is not None and not self._life.done():
            try:
                await asyncio.wait([self._life])
            except asyncio.CancelledError as error:
                cancelled = error
                match requests.received():
                    case "first":
                        self._begin_shutdown()
                    case "again":
                        self._hurry()
        if cancelled is not None:
            raise cancelled
        await self._ended()

    async def _serve(self, start: Awaitable[None]) -> None:
        """Start, and attend. Cancelling it shuts down first, also while it starts."""
        try:
            await start
        except asyncio.CancelledError:
            await self.shutdown()
            raise
        await self._attend()

    async def _ended(self) -> None:
        if self._life is not None:
            # It must outlive whoever waits for it.
            await asyncio.shield(self._life)

    async def _close_broker(self) -> None:
        if self._owns_broker:
            await self._broker.aclose()
            self._broker.close()

    async def _until_signalled(self, start: Coroutine[Any, Any, None]) -> None:
        """Start, and attend until a signal has shut down, in an event loop of its own."""
        starting = asyncio.create_task(start)

        def stop() -> None:
            if self._life is None:
                starting.cancel()
            else:
                self._log.info(
                    "shutting down: what runs has %g s to finish; a second signal ends it without waiting",
                    self._patience,
                )
                self._begin_shutdown()

        def again() -> None:
            if self._life is not None:
                self._hurry()

        try:
            with stop_signals(asyncio.get_running_loop(), stop=stop, again=again, quiet=self._quiet):
                await asyncio.wait([starting])
                if starting.cancelled():
                    self._log.info("stopped before it began to work")
                    await self.shutdown()
                else:
                    starting.result()
                    await self._attend()
        finally:
            # This event loop is ours and ends here, and so must the connections it used.
            await self._broker.aclose()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
