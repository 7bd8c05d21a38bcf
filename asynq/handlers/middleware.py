"""Middlewares, and the other wrappers around a handler: its rules for failures and its timeout."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from asynq.checks import check_timeout
from asynq.client.task import Task
from asynq.handlers.adapters import HandlerAdapter, is_async, is_generator
from asynq.handlers.context import Context
from asynq.handlers.failure_rules import NO_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.handlers.failure_rules import FailureRules
    from asynq.handlers.sync_middleware import SyncMiddleware

Next: TypeAlias = Callable[[Context, Task], Awaitable[Any]]
"""The rest of a run, as a middleware calls it: the middlewares inside and the handler. Returns the result."""
Middleware: TypeAlias = Callable[[Context[Any], Task, Next], Awaitable[Any]]
"""An async function of (ctx, task, next)."""
AnyMiddleware: TypeAlias = "Middleware | SyncMiddleware"

_MILLISECOND = timedelta(milliseconds=1)


@frozen
class Wrapped(HandlerAdapter):
    """A handler with a middleware around it."""

    middleware: Middleware
    next: HandlerAdapter

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The middlewares inside this one, around the function."""
        return Wrapped(self.middleware, self.next.within(middlewares))

    def failure_rules(self, task_type: str) -> FailureRules:
        """The rules of the handler."""
        return self.next.failure_rules(task_type)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the middleware."""
        return await self.middleware(ctx, task, self.next)


@frozen
class Ruled(HandlerAdapter):
    """A handler with rules for its failures, which those of handlers inside override. It costs no run."""

    rules: FailureRules
    next: HandlerAdapter

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The middlewares around the function."""
        return Ruled(self.rules, self.next.within(middlewares))

    def resolve(self, task_type: str) -> HandlerAdapter:
        """The handler itself."""
        return self.next.resolve(task_type)

    def failure_rules(self, task_type: str) -> FailureRules:
        """The rules of both."""
        return self.rules | self.next.failure_rules(task_type)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler."""
        return await self.next(ctx, task)


@frozen
class Timed(HandlerAdapter):
    """A handler whose runs have a timeout of their own."""

    timeout: int
    """Milliseconds, from the start of the run."""
    next: HandlerAdapter

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The middlewares around the function."""
        return Timed(self.timeout, self.next.within(middlewares))

    def failure_rules(self, task_type: str) -> FailureRules:
        """The rules of the handler."""
        return self.next.failure_rules(task_type)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler."""
        ctx.control.shorten(self.timeout)
        return await self.next(ctx, task)


def wrap(adapter: HandlerAdapter, middlewares: Sequence[Middleware]) -> HandlerAdapter:
    """The handler with these middlewares around it. The first one is outermost."""
    for middleware in reversed(middlewares):
        adapter = Wrapped(middleware, adapter)
    return adapter


def wrap_handler(
    adapter: HandlerAdapter,
    middlewares: Sequence[AnyMiddleware],
    timeout: timedelta | None,
    rules: FailureRules,
) -> HandlerAdapter:
    """The handler with the options of its registration. TypeError or ValueError for an invalid one."""
    awaited, sync = by_kind(middlewares)
    if sync:
        adapter = adapter.within(sync)
    adapter = wrap(adapter, awaited)
    if timeout is not None:
        check_timeout("timeout", timeout)
        adapter = Timed(-(-timeout // _MILLISECOND), adapter)
    return adapter if rules == NO_RULES else Ruled(rules, adapter)


def by_kind(middlewares: Sequence[AnyMiddleware]) -> tuple[list[Middleware], list[SyncMiddleware]]:
    """The async and the sync middlewares. TypeError for anything else."""
    awaited: list[Any] = []
    sync: list[Any] = []
    for middleware in middlewares:
        check_middleware(middleware)
        (awaited if is_async(middleware) else sync).append(middleware)
    return awaited, sync


def check_middleware(middleware: object) -> None:
    """Raise TypeError for anything but a function of three arguments, or an object that is called as one."""
    if callable(middleware) and not isinstance(middleware, type) and not is_generator(middleware):
        try:
            inspect.signature(middleware).bind(None, None, None)
        except TypeError:
            pass
        except ValueError:
            return  # some callables written in C have no signature
        else:
            return
    raise TypeError(f"a middleware must be a function of (ctx, task, next), async or not; not {middleware!r}")
