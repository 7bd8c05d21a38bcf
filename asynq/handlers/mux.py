"""ServeMux: finds the handler of a task by its type, and wraps middlewares around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from attrs import frozen

from asynq.checks import check_name
from asynq.errors import HandlerNotFoundError
from asynq.handlers.adapters import HandlerAdapter, adapt_handler, is_async

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asynq.client.task import Task
    from asynq.handlers.adapters import Executor, Handler
    from asynq.handlers.context import Context

    Next = Callable[[Context, Task], Awaitable[Any]]
    Middleware = Callable[[Context, Task, Next], Awaitable[Any]]

    P = TypeVar("P")
    R = TypeVar("R")
    M = TypeVar("M", bound=Middleware)


class ServeMux(HandlerAdapter):
    """A handler made of handlers: each task goes to the one whose pattern fits its type best.

    A pattern fits a type that equals it or begins with it; the longest one that fits wins. A task no
    pattern fits fails with HandlerNotFoundError. Muxes nest: the inner one sees the whole type.
    """

    def __init__(self) -> None:
        self._steps: dict[str, HandlerAdapter] = {}
        self._longest = 0
        self._middlewares: list[Middleware] = []

    @overload
    def handler(
        self,
        pattern: str,
        *,
        payload: None = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> Callable[[Callable[[Context, Task], R]], Callable[[Context, Task], R]]: ...

    @overload
    def handler(
        self,
        pattern: str,
        *,
        payload: type[P],
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> Callable[[Callable[[Context, P], R]], Callable[[Context, P], R]]: ...

    @overload
    def handler(
        self,
        pattern: str,
        *,
        payload: object,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> Callable[[Callable[[Context, Any], R]], Callable[[Context, Any], R]]: ...

    def handler(
        self,
        pattern: str,
        *,
        payload: object = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> Callable[[Handler], Handler]:
        """Decorate a function to handle the tasks of a pattern; `handle` says what is refused."""
        if callable(pattern):
            raise TypeError('a handler needs a pattern: write @mux.handler("type")')

        def register(handler: Handler) -> Handler:
            self.handle(pattern, handler, payload=payload, executor=executor, middlewares=middlewares)
            return handler

        return register

    def handle(
        self,
        pattern: str,
        handler: Handler,
        *,
        payload: object = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> None:
        """Let a handler, which may be another mux, handle the tasks of a pattern.

        With `payload` the handler gets a decoded value of that type in the place of the task: of an attrs
        class, a dataclass, a msgspec.Struct, a pydantic model, or another type that
        `asynq.client.payload.payload_decoder` decodes. A payload that cannot be decoded archives the task
        at once.
        `executor` says where a plain function runs: in a "thread", the default, or in a "process", which is
        killed when the run must end. A process imports the function: it must be at the top level of a module.
        `middlewares` surround this handler alone, within those of the mux, the first one outermost.

        ValueError for a pattern that is blank or taken, TypeError for what cannot be a handler, and for a
        type that cannot be decoded.
        """
        check_name("pattern", pattern)
        if pattern in self._steps:
            raise ValueError(f"pattern {pattern!r} already has a handler")
        if handler is self:
            raise ValueError(f"a mux cannot be its own handler (pattern {pattern!r})")
        for middleware in middlewares:
            _check_middleware(middleware)
        step = adapt_handler(handler, payload=payload, executor=executor)
        self._steps[pattern] = _surrounded(step, middlewares)
        self._longest = max(self._longest, len(pattern))

    def middleware(self, middleware: M) -> M:
        """Wrap every task of this mux, those no pattern fits too; the first one added is outermost.

        A middleware is async, takes (ctx, task, next), and returns what `await next(ctx, task)` returns, or
        something else. It runs on the event loop, around plain handlers too. TypeError when it is not async.
        """
        _check_middleware(middleware)
        self._middlewares.append(middleware)
        return middleware

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Handle a task: middlewares first, then the handler its type leads to."""
        return await _surrounded(_Dispatch(self), self._middlewares)(ctx, task)

    def find(self, task_type: str) -> HandlerAdapter:
        """The step tasks of this type go to; HandlerNotFoundError when no pattern fits."""
        for end in range(min(len(task_type), self._longest), 0, -1):
            step = self._steps.get(task_type[:end])
            if step is not None:
                return step
        raise HandlerNotFoundError(task_type)


@frozen
class _Dispatch(HandlerAdapter):
    mux: ServeMux

    async def __call__(self, ctx: Context, task: Task) -> Any:
        return await self.mux.find(task.type)(ctx, task)


@frozen
class _Wrapped(HandlerAdapter):
    middleware: Middleware
    next: HandlerAdapter

    async def __call__(self, ctx: Context, task: Task) -> Any:
        return await self.middleware(ctx, task, self.next)


def _surrounded(step: HandlerAdapter, middlewares: Sequence[Middleware]) -> HandlerAdapter:
    for middleware in reversed(middlewares):
        step = _Wrapped(middleware, step)
    return step


def _check_middleware(middleware: object) -> None:
    if not callable(middleware) or not is_async(middleware):
        raise TypeError(f"a middleware must be an async function of (ctx, task, next), not {middleware!r}")
