"""`ServeMux`: find the handler of a task by its type, and wrap middlewares around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from attrs import frozen

from asynq.checks import check_name, check_one_of
from asynq.client.task_type import TaskType
from asynq.errors import HandlerNotFoundError
from asynq.handlers.adapters import HandlerAdapter, adapt_handler_of_pattern
from asynq.handlers.failure_rules import NO_RULES, FailureRules
from asynq.handlers.handler_options import RunKeywords
from asynq.handlers.limits import Semaphore
from asynq.handlers.middleware import by_kind, wrap, wrap_handler
from asynq.handlers.task_functions import TaskFunction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from asynq.client.task import Task
    from asynq.handlers.adapters import Executor, Handler
    from asynq.handlers.context import Context
    from asynq.handlers.failure_rules import ErrorTypes
    from asynq.handlers.handler_options import FunctionKeywords, HandlerDecorator, HandlerKeywords
    from asynq.handlers.middleware import AnyMiddleware, Middleware
    from asynq.handlers.retry_delays import RetryDelay
    from asynq.handlers.sync_middleware import SyncMiddleware
    from asynq.handlers.task_functions import TaskDecorator

P = TypeVar("P")
R = TypeVar("R")
G = TypeVar("G")
S = TypeVar("S")
M = TypeVar("M", bound="AnyMiddleware")

MAX_TYPES_KEPT = 1000
"""Maximum number of types whose handlers are kept. Task types come from clients and are not bounded."""
MAX_KEPT_LENGTH = 200
"""Maximum length of such a type."""


class ServeMux(HandlerAdapter):
    """A handler that passes each task to the handler with the best matching pattern.

    A pattern matches a type that equals it or starts with it; the longest match wins. A task without a match
    fails with HandlerNotFoundError. A mux may be the handler of another mux; the inner one sees the whole
    type.

    Args:
        unknown: what happens to a task without a match, in this mux or in one inside: "retry", the default,
            because another server may have a handler for it, or "archive", at once.

    Raises:
        ValueError: `unknown` has another value.
    """

    def __init__(self, *, unknown: Literal["retry", "archive"] = "retry") -> None:
        check_one_of("retry", "archive")("unknown", unknown)
        self._unknown = unknown
        self._adapters: dict[str, HandlerAdapter] = {}
        self._longest = 0
        self._found: dict[str, HandlerAdapter] = {}
        """The handlers of the types that were looked up last, with the sync middlewares."""
        self._middlewares: list[Middleware] = []
        self._sync_middlewares: list[SyncMiddleware] = []
        self._wrapped: HandlerAdapter | None = None
        """The async middlewares around the handlers, if there are any."""

    @overload
    def handler(
        self, pattern: str, *, payload: None = None, **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context[S], Task], R]], Callable[[Context[S], Task], R]]: ...

    @overload
    def handler(
        self, pattern: str, *, payload: type[P], **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context[S], P], R]], Callable[[Context[S], P], R]]: ...

    @overload
    def handler(
        self, pattern: str, *, payload: object, **options: Unpack[HandlerKeywords]
    ) -> Callable[[Callable[[Context[S], Any], R]], Callable[[Context[S], Any], R]]: ...

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
    def task(self, task_type: str, **options: Unpack[FunctionKeywords]) -> TaskDecorator[bytes]: ...

    @overload
    def task(
        self, task_type: str, *, progress: type[G], **options: Unpack[FunctionKeywords]
    ) -> TaskDecorator[G]: ...

    def task(self, task_type: str, *, progress: Any = bytes, **options: Unpack[FunctionKeywords]) -> Any:
        """Decorate a function to be a task: its arguments are the payload, its return value is the result.

        The function becomes a TaskFunction: a call makes a task from checked arguments, and `fn` is the
        function itself. A first parameter that is annotated as Context, or named `ctx` without an annotation,
        gets the context; it is not an argument of the task.

        Args:
            task_type: type of the task.
            progress: type of what the function writes with `Context.write_result`; by default bytes.
            **options: options of each task, as those of TaskType, including `headers`; and options of the
                handler, as those of `handle`. `timeout` is that of each task.

        Returns:
            A decorator that returns a TaskFunction.

        Raises:
            TypeError: the decorator is not applied to a function, an argument has a type that cannot be
                decoded, or an option has the wrong type.
            ValueError: the type is blank or already has a handler, or an option has an invalid value.
        """
        if not isinstance(task_type, str):
            raise TypeError('a task needs a type: write @mux.task("type")')
        of_handler, of_tasks = split_options(options)

        def register(function: Any) -> TaskFunction:
            made: TaskFunction = TaskFunction(
                function, task_type, progress=progress, options=of_tasks, others=RunKeywords.__annotations__
            )
            self.handle(task_type, made, **of_handler)
            return made

        return register

    def handle(
        self,
        pattern: str | TaskType,
        handler: Handler | TaskFunction,
        *,
        payload: object = None,
        executor: Executor | None = None,
        middlewares: Sequence[AnyMiddleware] = (),
        retry_delay: RetryDelay | timedelta | None = None,
        retry_on: ErrorTypes | None = None,
        archive_on: ErrorTypes | None = None,
        timeout: timedelta | None = None,
        concurrency: int | None = None,
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
            middlewares: middlewares of this handler alone, inside those of the mux; see `middleware`.
            retry_delay: delay before a failed task runs again: a timedelta, a Backoff, or a function of
                (retried, error, task). By default that of the mux around it, or else of the server.
            retry_on: errors, as `except` takes them, after which a task is retried. After other errors of the
                handler it is archived at once. The library's own errors, such as TaskTimeoutError, are not
                concerned.
            archive_on: errors after which a task is archived at once. It takes precedence over `retry_on`.
            timeout: maximum duration of a run. If the task has a timeout too, the shorter one applies.
            concurrency: maximum number of runs at the same time, on all servers together, as a Semaphore of
                the scope `handler:` and the pattern. A run that exceeds it waits in retry.

        Raises:
            TypeError: the handler cannot handle tasks, the payload type cannot be decoded, or an option has
                the wrong type.
            ValueError: the pattern is blank or already has a handler, or an option is out of range or does
                not apply to the handler.
        """
        progress: Any = None
        if isinstance(pattern, TaskType):
            if payload is not None:
                raise ValueError(f"payload is declared by the TaskType {pattern.type!r}; leave it out")
            payload, progress, pattern = pattern.payload, pattern.result_types.progress, pattern.type
        check_name("pattern", pattern)
        if pattern in self._adapters:
            raise ValueError(f"pattern {pattern!r} already has a handler")
        if handler is self:
            raise ValueError(f"a mux cannot be its own handler (pattern {pattern!r})")
        rules = FailureRules(retry_delay=retry_delay, retry_on=retry_on, archive_on=archive_on)
        if concurrency is not None:
            middlewares = (Semaphore(f"handler:{pattern}", concurrency), *middlewares)
        adapter = adapt_handler_of_pattern(handler, payload=payload, progress=progress, executor=executor)
        self._add(pattern, wrap_handler(adapter, middlewares, timeout, rules))

    def _add(self, pattern: str, adapter: HandlerAdapter) -> None:
        self._surrounded(adapter)  # for its TypeError
        self._adapters[pattern] = adapter
        self._longest = max(self._longest, len(pattern))
        # Not cleared: another thread may be about to add what it found before.
        self._found = {}

    def middleware(self, middleware: M) -> M:
        """Add a middleware around every task of this mux; a decorator.

        An async middleware takes (ctx, task, next), and returns what `await next(ctx, task)` returns, or
        another result. It runs on the event loop, also around sync handlers, and also sees tasks without a
        match. A plain function returns what `next(ctx, task)` returns. It runs in the thread or process of a
        sync handler; around an async handler, in a thread that waits for it. All async middlewares are
        outside of the plain ones; otherwise the first one added is outermost.

        Args:
            middleware: the middleware to add.

        Returns:
            The middleware, unchanged.

        Raises:
            TypeError: it is no function of (ctx, task, next), or a process with a handler cannot import it.
        """
        awaited, sync = by_kind([middleware])
        for adapter in self._adapters.values() if sync else ():
            adapter.within(sync)  # for its TypeError
        self._middlewares += awaited
        self._sync_middlewares += sync
        self._wrapped = wrap(_Dispatcher(self), self._middlewares) if self._middlewares else None
        self._found = {}
        return middleware

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The mux with sync middlewares around its handlers, outside of its own.

        Args:
            middlewares: the middlewares; the first one is outermost.

        Raises:
            TypeError: the process of a handler cannot import one of them.
        """
        for adapter in self._adapters.values():
            adapter.within(middlewares)  # for its TypeError
        return _Surrounded(self, tuple(middlewares))

    def resolve(self, task_type: str) -> HandlerAdapter:
        """The middlewares if there are any, else the handler for tasks of this type.

        Args:
            task_type: type of the task.

        Raises:
            HandlerNotFoundError: no pattern matches, and there are no middlewares to see this.
        """
        return self._wrapped or (self._found.get(task_type) or self.find(task_type)).resolve(task_type)

    def failure_rules(self, task_type: str) -> FailureRules:
        """The rules of the handler for tasks of this type."""
        try:
            rules = self.find(task_type).failure_rules(task_type)
        except HandlerNotFoundError:
            rules = NO_RULES
        return rules if self._unknown == "retry" else rules.archiving(HandlerNotFoundError)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Handle a task: run the middlewares, then the handler that matches its type."""
        return await self.resolve(task.type)(ctx, task)

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns that have a handler, in the order in which they were registered."""
        return tuple(self._adapters)

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
            adapter = self._surrounded(self._longest_match(task_type))
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

    def _surrounded(self, adapter: HandlerAdapter) -> HandlerAdapter:
        return adapter.within(self._sync_middlewares) if self._sync_middlewares else adapter


@frozen
class _Dispatcher(HandlerAdapter):
    """The handlers of a mux, inside its async middlewares."""

    mux: ServeMux
    middlewares: tuple[SyncMiddleware, ...] = ()
    """Sync middlewares from outside of the mux."""

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        return _Dispatcher(self.mux, (*middlewares, *self.middlewares))

    async def __call__(self, ctx: Context, task: Task) -> Any:
        found = self.mux.find(task.type)
        return await (found.within(self.middlewares) if self.middlewares else found)(ctx, task)


@frozen
class _Surrounded(HandlerAdapter):
    """A mux with sync middlewares from outside."""

    mux: ServeMux
    middlewares: tuple[SyncMiddleware, ...]

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        return _Surrounded(self.mux, (*middlewares, *self.middlewares))

    def resolve(self, task_type: str) -> HandlerAdapter:
        return self.mux.resolve(task_type).within(self.middlewares)

    def failure_rules(self, task_type: str) -> FailureRules:
        return self.mux.failure_rules(task_type)

    async def __call__(self, ctx: Context, task: Task) -> Any:
        return await self.resolve(task.type)(ctx, task)


def split_options(options: FunctionKeywords) -> tuple[RunKeywords, dict[str, Any]]:
    """The options of the handler, and those of its tasks."""
    given: dict[str, Any] = dict(options)
    of_handler: Any = {name: given.pop(name) for name in RunKeywords.__annotations__ if name in given}
    return of_handler, given
