"""`Lifespan`: holds the context manager of the user that surrounds the work of a server."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from asynq.checks import check_callback
from asynq.runtime import timeouts
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

log = get_logger("asynq.server")

FORCED_EXIT_TIMEOUT = 1.0
"""Seconds that the exit of the context has after a forced shutdown, and again after its cancellation."""


class Lifespan:
    """Enters an async context manager and leaves it later, both in one asyncio task, as task groups need it.

    Args:
        make: returns the context manager.
        on_crash: called on the event loop if the body of the context is cancelled from within, as by a failed
            task of a task group. The context has ended then.
    """

    def __init__(
        self, make: Callable[[], AbstractAsyncContextManager[Any]], on_crash: Callable[[], None]
    ) -> None:
        self._make = make
        self._on_crash = on_crash
        self._ending, self._forced = asyncio.Event(), asyncio.Event()
        self._entered: asyncio.Future[Any] | None = None
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> Any:
        """Enter the context and return what it yields. Raises what it raises."""
        loop = asyncio.get_running_loop()
        self._entered = loop.create_future()
        self._task = loop.create_task(self._hold(self._entered), name="asynq-lifespan")
        try:
            await asyncio.wait((self._task, self._entered), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait((self._task,))
            raise
        if not self._entered.done():
            raise _error(self._task, "start")
        self._task.add_done_callback(self._left)
        return self._entered.result()

    async def leave(self) -> None:
        """Leave the context, unless it was never entered. Raises what it raises."""
        if self._task is None or self._entered is None or not self._entered.done():
            return
        self._ending.set()
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait((self._task, forced), return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        await timeouts.wait((self._task,), FORCED_EXIT_TIMEOUT)
        if not self._task.done():
            log.warning("the lifespan did not end in time and is cancelled")
            self._task.cancel()
            await timeouts.wait((self._task,), FORCED_EXIT_TIMEOUT)
        elif self._task.cancelled() or self._task.exception():
            raise _error(self._task, "end")

    def force(self) -> None:
        """Bound the time that `leave` takes."""
        self._forced.set()

    async def _hold(self, entered: asyncio.Future[Any]) -> None:
        async with self._make() as state:
            entered.set_result(state)
            await self._ending.wait()

    def _left(self, _: asyncio.Task[None]) -> None:
        if not self._ending.is_set():
            log.error("the lifespan has ended before the server, which shuts down")
            self._on_crash()


def _error(task: asyncio.Task[None], when: str) -> BaseException:
    """Why the context has ended, with a note that says whose error it is."""
    error = None if task.cancelled() else task.exception()
    if error is None:
        return RuntimeError(f"the lifespan was cancelled at its {when}")
    error.add_note(f"raised by the lifespan of the server at its {when}")
    return error


def check_lifespan(lifespan: object) -> None:
    """Raise TypeError unless this is a function that may return an async context manager."""
    check_callback("lifespan", lifespan, takes="(server)")
    if inspect.isasyncgenfunction(lifespan) or inspect.iscoroutinefunction(lifespan):
        raise TypeError(
            "lifespan must return an async context manager: decorate it with @contextlib.asynccontextmanager"
        )
