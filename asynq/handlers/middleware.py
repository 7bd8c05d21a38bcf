"""Middlewares, and the other wrappers around a handler: its rules for failures and its timeout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from asynq.checks import check_timeout
from asynq.client.task import Task
from asynq.handlers.adapters import HandlerAdapter, is_async
from asynq.handlers.context import Context
from asynq.handlers.failure_rules import NO_RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.handlers.failure_rules import FailureRules

Next: TypeAlias = Callable[[Context, Task], Awaitable[Any]]
"""The rest of a run, as a middleware calls it: the middlewares inside and the handler. Returns the result."""
Middleware: TypeAlias = Callable[[Context[Any], Task, Next], Awaitable[Any]]
"""An async function of (ctx, task, next)."""

_MILLISECOND = timedelta(milliseconds=1)


@frozen
class Wrapped(HandlerAdapter):
    """A handler with a middleware around it."""

    middleware: Middleware
    next: HandlerAdapter

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
    adapter: HandlerAdapter, middlewares: Sequence[Middleware], timeout: timedelta | None, rules: FailureRules
) -> HandlerAdapter:
    """The handler with the options of its registration. TypeError or ValueError for an invalid one."""
    for middleware in middlewares:
        check_middleware(middleware)
    adapter = wrap(adapter, middlewares)
    if timeout is not None:
        check_timeout("timeout", timeout)
        adapter = Timed(-(-timeout // _MILLISECOND), adapter)
    return adapter if rules == NO_RULES else Ruled(rules, adapter)


def check_middleware(middleware: object) -> None:
    """Raise TypeError for anything but an async function."""
    if not callable(middleware) or not is_async(middleware):
        raise TypeError(f"a middleware must be an async function of (ctx, task, next), not {middleware!r}")
