"""`ServeMux`: find the handler of a task by its type, and wrap middlewares around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, Unpack, overload

from attrs import frozen

from asynq.checks import check_name
from asynq.client.task_type import TaskType
from asynq.errors import HandlerNotFoundError
from asynq.handlers.adapters import HandlerAdapter, adapt_handler, is_async
from asynq.handlers.task_functions import TaskFunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

    from asynq.client.options import TypeKeywords
    from asynq.client.task import Task
    from asynq.handlers.adapters import Executor, Handler
    from asynq.handlers.context import Context
    from asynq.handlers.task_functions import TaskDecorator

    Next = Callable[[Context, Task], Awaitable[Any]]
    Middleware = Callable[[Context, Task, Next], Awaitable[Any]]

    M = TypeVar("M", bound=Middleware)

P = TypeVar("P")
R = TypeVar("R")
G = TypeVar("G")


class HandlerKeywords(TypedDict, total=False):
    """The options of a handler as keyword arguments. `ServeMux.handle` describes them."""

    executor: Executor | None
    middlewares: Sequence[Middleware]


class HandlerDecorator(Protocol[P, R]):
    """What `ServeMux.handler` returns for a TaskType: its handler takes a `P` and returns an `R`."""

    @overload
    def __call__(
        self, handler: Callable[[Context, P], Coroutine[Any, Any, R]], /
    ) -> Callable[[Context, P], Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, handler: Callable[[Context, P], R], /) -> Callable[[Context, P], R]: ...


MAX_TYPES_KEPT = 1000
"""Maximum number of types whose handlers are kept. Task types come from clients and are not bounded."""
MAX_KEPT_LENGTH = 200
"""Maximum length of such a type."""


class ServeMux(HandlerAdapter):
    """A handler that passes each task to the handler with the best matching pattern.

    A pattern matches a type that equals it or starts with it; the longest match wins. A task without a match
    fails with HandlerNotFoundError. A mux may be the handler of another mux; the inner one sees the whole
    type.
    """

    def __init__(self) -> None:
        self._adapters: dict[str, HandlerAdapter] = {}
        self._longest = 0
        self._found: dict[str, HandlerAdapter] = {}
        """The handlers of the types that were looked up last."""
        self._middlewares: list[Middleware] = []
        self._wrapped: HandlerAdapter | None = None
        """The middlewares around the handlers, if there are any."""

    @overload
    def handler(
        self, pattern: str, *, payload: None = None, **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context, Task], R]], Callable[[Context, Task], R]]: ...

    @overload
    def handler(
        self, pattern: str, *, payload: type[P], **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context, P], R]], Callable[[Context, P], R]]: ...

    @overload
    def handler(
        self, pattern: str, *, payload: object, **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context, Any], R]], Callable[[Context, Any], R]]: ...

    @overload
    def handler(
        self, pattern: TaskType[None, R, Any, ...], **options: Unpack[HandlerKeywords]
    ) -> HandlerDecorator[Task, R]: ...

    @overload
    def handler(
        self, pattern: TaskType[P, R, Any, ...], **options: Unpack[HandlerKeywords]
    ) -> HandlerDecorator[P, R]: ...

    def handler(
        self, pattern: Any, *, payload: object = None, **options: Unpack[HandlerKeywords]
    ) -> Callable[[Handler], Handler]:
        """Decorate a function to handle the tasks of a pattern or of a TaskType.

        Args:
            pattern: a task type or a prefix of task types; or a TaskType, which also declares the payload.
            payload: type to which payloads are decoded.
            **options: options of the handler; see `handle`.

        Returns:
            A decorator that registers the function and returns it unchanged.

        Raises:
            TypeError: see `handle`.
            ValueError: see `handle`.
        """
        if callable(pattern) and not isinstance(pattern, TaskType):
            raise TypeError('a handler needs a pattern: write @mux.handler("type")')

        def register(handler: Handler) -> Handler:
            self.handle(pattern, handler, payload=payload, **options)
            return handler

        return register

    @overload
    def task(
        self,
        task_type: str,
        *,
        headers: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
        **options: Unpack[TypeKeywords],
    ) -> TaskDecorator[bytes]: ...

    @overload
    def task(
        self,
        task_type: str,
        *,
        progress: type[G],
        headers: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
        **options: Unpack[TypeKeywords],
    ) -> TaskDecorator[G]: ...

    def task(
        self,
        task_type: str,
        *,
        progress: Any = bytes,
        headers: Mapping[str, str] | None = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
        **options: Unpack[TypeKeywords],
    ) -> Any:
        """Decorate a function to be a task: its arguments are the payload, its return value is the result.

        The function becomes a TaskFunction: a call makes a task from checked arguments, and `fn` is the
        function itself. A first parameter that is annotated as Context, or named `ctx` without an annotation,
        gets the context; it is not an argument of the task.

        Args:
            task_type: type of the task.
            progress: type of what the function writes with `Context.write_result`; by default bytes.
            headers: key-value texts that are stored with each task.
            executor: as for `handle`.
            middlewares: as for `handle`.
            **options: options of each task, as those of TaskType.

        Returns:
            A decorator that returns a TaskFunction.

        Raises:
            TypeError: the decorator is not applied to a function, an argument has a type that cannot be
                decoded, or an option has the wrong type.
            ValueError: the type is blank or already has a handler, or an option has an invalid value.
        """
        if not isinstance(task_type, str):
            raise TypeError('a task needs a type: write @mux.task("type")')

        def register(function: Any) -> TaskFunction:
            made: TaskFunction = TaskFunction(
                function, task_type, progress=progress, headers=headers, options=options
            )
            self.handle(task_type, made, executor=executor, middlewares=middlewares)
            return made

        return register

    def handle(
        self,
        pattern: str | TaskType,
        handler: Handler | TaskFunction,
        *,
        payload: object = None,
        executor: Executor | None = None,
        middlewares: Sequence[Middleware] = (),
    ) -> None:
        """Register a handler, which may be another mux, for the tasks of a pattern.

        Args:
            pattern: a task type or a prefix of task types; or a TaskType, which also declares the payload.
            handler: an async or sync function of (ctx, task), a TaskFunction, or a mux.
            payload: type to which payloads are decoded: an attrs class, a dataclass, a msgspec.Struct, a
                pydantic model, or another type that `asynq.client.payload.payload_decoder` decodes. The
                handler gets the value instead of the task. A task whose payload cannot be decoded is archived
                at once.
            executor: where a sync function runs: "thread", the default, or "process". A process is killed
                when the run must end. It imports the function, which must be at the top level of a module.
            middlewares: middlewares of this handler alone, inside those of the mux; the first is outermost.

        Raises:
            TypeError: the handler cannot handle tasks, or the payload type cannot be decoded.
            ValueError: the pattern is blank or already has a handler, or an option does not apply to the
                handler.
        """
        if isinstance(pattern, TaskType):
            if payload is not None:
                raise ValueError(f"payload is declared by the TaskType {pattern.type!r}; leave it out")
            payload, pattern = pattern.payload, pattern.type
        check_name("pattern", pattern)
        if pattern in self._adapters:
            raise ValueError(f"pattern {pattern!r} already has a handler")
        if handler is self:
            raise ValueError(f"a mux cannot be its own handler (pattern {pattern!r})")
        for middleware in middlewares:
            _check_middleware(middleware)
        adapter = adapt_handler(handler, payload=payload, executor=executor)
        self._adapters[pattern] = _wrap(adapter, middlewares)
        self._longest = max(self._longest, len(pattern))
        # Not cleared: another thread may be about to add what it found before.
        self._found = {}

    def middleware(self, middleware: M) -> M:
        """Add a middleware around every task of this mux, including tasks without a match; a decorator.

        A middleware is async, takes (ctx, task, next), and returns what `await next(ctx, task)` returns, or
        another result. It runs on the event loop, also around sync handlers. The first one added is
        outermost.

        Args:
            middleware: the middleware to add.

        Returns:
            The middleware, unchanged.

        Raises:
            TypeError: the middleware is not async.
        """
        _check_middleware(middleware)
        self._middlewares.append(middleware)
        self._wrapped = _wrap(_Dispatcher(self), self._middlewares)
        return middleware

    def resolve(self, task_type: str) -> HandlerAdapter:
        """The middlewares if there are any, else the handler for tasks of this type.

        Args:
            task_type: type of the task.

        Raises:
            HandlerNotFoundError: no pattern matches, and there are no middlewares to see this.
        """
        return self._wrapped or self.find(task_type).resolve(task_type)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Handle a task: run the middlewares, then the handler that matches its type."""
        return await self.resolve(task.type)(ctx, task)

    def find(self, task_type: str) -> HandlerAdapter:
        """The handler for tasks of this type.

        Args:
            task_type: type of the task.

        Raises:
            HandlerNotFoundError: no pattern matches.
        """
        found = self._found
        adapter = found.get(task_type)
        if adapter is None:
            adapter = self._longest_match(task_type)
            if len(task_type) <= MAX_KEPT_LENGTH:
                if len(found) >= MAX_TYPES_KEPT:
                    found.clear()
                found[task_type] = adapter
        return adapter

    def _longest_match(self, task_type: str) -> HandlerAdapter:
        for end in range(min(len(task_type), self._longest), 0, -1):
            adapter = self._adapters.get(task_type[:end])
            if adapter is not None:
                return adapter
        raise HandlerNotFoundError(task_type)


@frozen
class _Dispatcher(HandlerAdapter):
    mux: ServeMux

    async def __call__(self, ctx: Context, task: Task) -> Any:
        return await self.mux.find(task.type)(ctx, task)


@frozen
class _Wrapped(HandlerAdapter):
    middleware: Middleware
    next: HandlerAdapter

    async def __call__(self, ctx: Context, task: Task) -> Any:
        return await self.middleware(ctx, task, self.next)


def _wrap(adapter: HandlerAdapter, middlewares: Sequence[Middleware]) -> HandlerAdapter:
    for middleware in reversed(middlewares):
        adapter = _Wrapped(middleware, adapter)
    return adapter


def _check_middleware(middleware: object) -> None:
    if not callable(middleware) or not is_async(middleware):
        raise TypeError(f"a middleware must be an async function of (ctx, task, next), not {middleware!r}")
