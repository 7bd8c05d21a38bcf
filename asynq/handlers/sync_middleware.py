"""Sync middlewares: plain functions around a handler, in its own thread or process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from asynq.client.task import Task
from asynq.errors import TaskCancelledError
from asynq.handlers.context import Context
from asynq.runtime.forks import ExitForkedChild

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

SyncNext: TypeAlias = Callable[[Context, Task], Any]
"""The rest of a run, as a sync middleware calls it: the sync middlewares inside and the handler. Returns the
result."""
SyncMiddleware: TypeAlias = Callable[[Context[Any], Task, SyncNext], Any]
"""A plain function of (ctx, task, next), which runs in the thread or process of the handler."""


@frozen
class _Surrounded:
    """A function of (ctx, task) with a sync middleware around it."""

    middleware: SyncMiddleware
    next: SyncNext

    def __call__(self, ctx: Context, task: Task) -> Any:
        return self.middleware(ctx, task, self.next)


def surrounded(function: SyncNext, middlewares: Sequence[SyncMiddleware]) -> SyncNext:
    """The function with these middlewares around it. The first one is outermost."""
    for middleware in reversed(middlewares):
        function = _Surrounded(middleware, function)
    return function


class LoopCall:
    """An async function as a function that a thread calls: the event loop runs it while the thread waits.

    Args:
        function: the async function.
        loop: the event loop.
    """

    def __init__(
        self, function: Callable[[Context, Task], Awaitable[Any]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._function = function
        self._loop = loop
        self._task: asyncio.Task[tuple[Any, BaseException | None]] | None = None
        self._cancelled = False

    def __call__(self, ctx: Context, task: Task) -> Any:
        """Return or raise what the function does. Called in a thread, whose context variables it has.

        TaskCancelledError if the event loop has ended.
        """
        ended: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        try:
            self._loop.call_soon_threadsafe(self._start, ctx, task, ended)
        except RuntimeError as error:
            raise TaskCancelledError("the event loop of the server has ended") from error
        answer, raised = ended.get()
        try:
            if raised is not None:
                raise raised
        finally:
            # This frame is part of the error's traceback: it must not reference the error in turn.
            del raised
        return answer

    def cancel(self) -> None:
        """Cancel the coroutine, also one that the thread calls later. Called on the event loop."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _start(self, ctx: Context, task: Task, ended: SimpleQueue[tuple[Any, BaseException | None]]) -> None:
        def end(done: asyncio.Task[tuple[Any, BaseException | None]]) -> None:
            # Cancelled before its first step, it has no result.
            ended.put((None, asyncio.CancelledError()) if done.cancelled() else done.result())

        self._task = self._loop.create_task(self._run(ctx, task))
        self._task.add_done_callback(end)
        if self._cancelled:
            self._task.cancel()

    async def _run(self, ctx: Context, task: Task) -> tuple[Any, BaseException | None]:
        try:
            with ExitForkedChild():
                return await self._function(ctx, task), None
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the server
            return None, error
