"""The options of handlers as keyword arguments, and the decorators that take them, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar, overload

from asynq.client.options import TypeKeywords

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import timedelta

    from asynq.handlers.adapters import Executor
    from asynq.handlers.context import Context
    from asynq.handlers.failure_rules import ErrorTypes
    from asynq.handlers.middleware import AnyMiddleware
    from asynq.handlers.retry_delays import RetryDelay

P = TypeVar("P")
R = TypeVar("R")
S = TypeVar("S")


class RunKeywords(TypedDict, total=False):
    """The options of a handler, except its timeout. `ServeMux.handle` describes them."""

    executor: Executor | None
    middlewares: Sequence[AnyMiddleware]
    retry_delay: RetryDelay | timedelta | None
    retry_on: ErrorTypes | None
    archive_on: ErrorTypes | None
    concurrency: int | None


class HandlerKeywords(RunKeywords, total=False):
    """The options of a handler."""

    timeout: timedelta | None


class FunctionKeywords(TypeKeywords, RunKeywords, total=False):
    """The options of a function that is a task: of its tasks, with their timeout, and of its handler."""

    headers: Mapping[str, str] | None


class HandlerDecorator(Protocol[P, R]):
    """What `ServeMux.handler` returns for a TaskType: its handler takes a `P` and returns an `R`."""

    @overload
    def __call__(
        self, handler: Callable[[Context[S], P], Coroutine[Any, Any, R]], /
    ) -> Callable[[Context[S], P], Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(self, handler: Callable[[Context[S], P], R], /) -> Callable[[Context[S], P], R]: ...
