"""Adapters from user functions to the form that a run calls: async, thread and process handlers."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import evolve, frozen

from asynq.client.payload import payload_decoder, progress_check
from asynq.client.task import Task
from asynq.handlers import traces
from asynq.handlers.context import Context
from asynq.handlers.failure_rules import NO_RULES
from asynq.handlers.processes.main_module import MainModule
from asynq.handlers.processes.messages import HandlerCall
from asynq.handlers.processes.pool import ProcessCall
from asynq.handlers.sync_middleware import LoopCall, surrounded
from asynq.handlers.task_functions import TaskFunction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.handlers.failure_rules import FailureRules
    from asynq.handlers.sync_middleware import SyncMiddleware

Handler: TypeAlias = Callable[[Context[Any], Any], Any]
"""An async or sync function of (ctx, task), a partial of one, or an object whose `__call__` is one."""

Executor: TypeAlias = Literal["thread", "process"]
"""Where a sync function runs."""


class HandlerAdapter(ABC):
    """A handler in the form that a run calls."""

    def resolve(self, task_type: str) -> HandlerAdapter:  # noqa: ARG002 - for those that select one
        """The adapter that handles the tasks of this type: this one, unless it selects another one.

        Raises:
            HandlerNotFoundError: there is none.
        """
        return self

    def failure_rules(self, task_type: str) -> FailureRules:  # noqa: ARG002 - for those that have some
        """What is declared for failed runs of the tasks of this type. Called when one failed."""
        return NO_RULES

    @abstractmethod
    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """This handler with sync middlewares directly around its function. The first one is outermost.

        Raises:
            TypeError: the function runs in a process, which cannot import one of the middlewares.
        """

    @abstractmethod
    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Handle the task. The return value is its result."""


def adapt_handler(handler: Handler) -> HandlerAdapter:
    """The adapter for the handler of all tasks of a server.

    Raises:
        TypeError: as `adapt_handler_of_pattern`; or the handler is a TaskFunction, which would take tasks of
            other types for its own.
    """
    if isinstance(handler, TaskFunction):
        raise TypeError(f"{_name(handler.fn)} handles tasks of one type: pass the mux that has it")
    return adapt_handler_of_pattern(handler)


def adapt_handler_of_pattern(
    handler: Handler | TaskFunction,
    *,
    payload: Any = None,
    progress: Any = None,
    executor: Executor | None = None,
) -> HandlerAdapter:
    """The adapter for a handler: async functions run on the event loop, sync ones in a thread or process.

    Args:
        handler: the user's handler or a TaskFunction; an adapter, such as a mux, is returned as it is.
        payload: type to which the payload is decoded; the handler gets the value instead of the task.
        progress: type of what the handler writes while it runs; None if it is not declared.
        executor: where a sync function runs; by default in a thread.

    Raises:
        TypeError: the handler cannot handle a task: it is not callable, is a class or a generator function,
            or does not take two arguments. Or a process cannot import it: the function, or the payload type,
            is not at the top level of a module. Or the payload type cannot be decoded (see
            `asynq.client.payload.payload_decoder`).
        ValueError: the executor does not exist, or an option does not apply to an async handler or a mux.
    """
    if isinstance(handler, HandlerAdapter):
        if payload is not None or executor is not None:
            raise ValueError("payload and executor are for functions; set them on the handlers of the mux")
        return handler
    function = handler.fn if isinstance(handler, TaskFunction) else handler
    if isinstance(handler, TaskFunction):
        if payload is not None:
            raise ValueError(f"payload is declared by the arguments of {_name(function)}; leave it out")
        handler = handler.run
    _check(handler)
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process'; it is {executor!r}")
    if is_async(function):
        if executor is not None:
            raise ValueError(f"executor is for sync functions; {_name(function)} is async")
        return AsyncAdapter(_declaring(handler, payload, progress))
    if executor == "process":
        _check_importable(function)
        return ProcessAdapter(
            handler, _importable_type(payload, "payload"), _importable_type(progress, "progress")
        )
    return ThreadAdapter(_declaring(handler, payload, progress))


def is_async(function: Callable[..., Any]) -> bool:
    """True if a call of the function returns a coroutine, judged by its declaration."""
    return _declared(inspect.iscoroutinefunction, function)


def is_generator(function: Callable[..., Any]) -> bool:
    """True if the function yields, judged by its declaration."""
    return _declared(inspect.isgeneratorfunction, function) or _declared(inspect.isasyncgenfunction, function)


@frozen
class AsyncAdapter(HandlerAdapter):
    """Awaits a coroutine function on the event loop.

    A run awaits the function itself. The adapter is called by middlewares.
    """

    function: Handler

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The function with the middlewares in a thread."""
        return AsyncInThreadAdapter(self.function, tuple(middlewares))

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler."""
        return await self.function(ctx, task)


@frozen
class AsyncInThreadAdapter(HandlerAdapter):
    """Runs sync middlewares in a thread, which waits while the event loop runs the coroutine function."""

    function: Handler
    middlewares: tuple[SyncMiddleware, ...]

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The function with further middlewares in the same thread."""
        return AsyncInThreadAdapter(self.function, (*middlewares, *self.middlewares))

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the middlewares and the handler."""
        inner = LoopCall(self.function, asyncio.get_running_loop())
        outer = surrounded(inner, self.middlewares)
        return await ctx.control.call_in_thread(partial(outer, ctx, task), inner.cancel)


@frozen
class ThreadAdapter(HandlerAdapter):
    """Runs a sync function in one of the worker's threads.

    A run calls the function in a thread itself. The adapter is called by middlewares.
    """

    function: Handler

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The function and the middlewares in one thread."""
        return ThreadAdapter(surrounded(self.function, middlewares))

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler. If it returns an awaitable (a lambda around async code), await that too."""
        answer = await ctx.control.call_in_thread(partial(self.function, ctx, task))
        return await answer if inspect.isawaitable(answer) else answer


@frozen
class ProcessAdapter(HandlerAdapter):
    """Runs a sync function in one of the worker's processes, which is killed when the run must end."""

    function: Handler
    payload: Any = None
    """The declared type of the payload, which the process decodes; None to pass the task."""
    progress: Any = None
    """The declared type of the progress, which the process checks; None if it is not declared."""
    middlewares: tuple[SyncMiddleware, ...] = ()

    def within(self, middlewares: Sequence[SyncMiddleware]) -> HandlerAdapter:
        """The function and the middlewares in one process. TypeError if it cannot import one of them."""
        for middleware in middlewares:
            _check_middleware_importable(middleware)
        return evolve(self, middlewares=(*middlewares, *self.middlewares))

    async def __call__(self, ctx: Context, task: Task) -> bytes | None:
        """Run the handler. Its return value is already encoded as a result."""
        run = ctx.control
        errand = ProcessCall(run.executors.processes)
        call = HandlerCall(
            self.function,
            run.delivery,
            task,
            self.payload,
            self.progress,
            run.deadline,
            self.middlewares,
            traces.carrier(),
        )
        return await run.call_in_thread(partial(errand.run, call, run.broker), errand.kill)


@frozen
class _Decoding:
    """A handler that passes the decoded payload to a function, in place of the task."""

    function: Handler
    decode: Callable[[str, bytes], Any]

    def __call__(self, ctx: Context, task: Task) -> Any:
        """Call the function, or raise PayloadError, which archives the task at once."""
        return self.function(ctx, self.decode(task.type, task.payload))


@frozen
class _CheckingProgress:
    """A handler that can only write progress of the declared type."""

    function: Handler
    check: Callable[[str, bytes], None]

    def __call__(self, ctx: Context, task: Task) -> Any:
        """Call the function."""
        ctx.progress_check = self.check
        return self.function(ctx, task)


def _declaring(handler: Handler, payload: Any, progress: Any) -> Handler:
    if payload is not None:
        handler = _Decoding(handler, _decoder(payload))
    check = progress_check(progress)
    return handler if check is None else _CheckingProgress(handler, check)


def _check(handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
    if isinstance(handler, type):
        raise TypeError(f"a handler must be a function or an object, not the class {handler.__name__}")
    if is_generator(handler):
        raise TypeError(f"a handler must return, not yield: {_name(handler)} is a generator function")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        raise TypeError(f"a handler must take (ctx, task); {_name(handler)} does not: {error}") from None
    except ValueError:
        return  # some callables written in C have no signature


def _check_importable(handler: Handler) -> None:
    """Raise TypeError for a function that a process cannot import by its module and qualified name."""
    # On Python 3.14 a partial counts as a routine, but it has no qualified name.
    name = getattr(handler, "__qualname__", "<unnamed>")
    if not inspect.isroutine(handler) or inspect.ismethod(handler) or "<" in name:
        raise TypeError(
            "executor='process' needs a function at the top level of a module, which a process can import; "
            f"{_name(handler)} is not one"
        )
    if handler.__module__ == "__main__" and not MainModule.here().name:
        raise TypeError(
            f"executor='process' needs a function from a file; {_name(handler)} was defined at a prompt"
        )


def _check_middleware_importable(middleware: SyncMiddleware) -> None:
    if inspect.isroutine(middleware):
        # By its name, because a decorator is called before its module has the name.
        _check_importable(middleware)
        return
    try:
        pickle.dumps(middleware)
    except Exception as error:
        raise TypeError(
            "a sync middleware of a handler with executor='process' runs in its process; "
            f"{middleware!r} cannot be sent to it: {error}"
        ) from error


def _decoder(payload: Any) -> Callable[[str, bytes], Any]:
    if payload is Task:
        raise TypeError("payload=Task: a handler gets the Task without payload=; leave it out")
    return payload_decoder(payload)


def _importable_type(kind: Any, option: str) -> Any:
    """The type itself. Raises TypeError if it cannot be decoded or a process cannot import it."""
    if kind is not None:
        _decoder(kind)
        try:
            pickle.dumps(kind)
        except Exception as error:
            raise TypeError(
                f"executor='process' needs a type at the top level of a module, which a process can import; "
                f"{option}={kind!r} is not one: {error}"
            ) from error
    return kind


def _declared(is_kind: Callable[[Any], bool], function: Any) -> bool:
    # inspect unwraps partials, but does not look at __call__ of objects.
    while isinstance(function, partial):
        function = function.func
    return is_kind(function) or (not inspect.isroutine(function) and is_kind(type(function).__call__))


def _name(handler: object) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
