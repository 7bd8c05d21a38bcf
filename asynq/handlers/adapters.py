"""Handlers as users write them, each made into the one form a run awaits: a HandlerAdapter."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from abc import ABC, abstractmethod
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from attrs import frozen

from asynq.client.payload import payload_decoder
from asynq.client.task import Task
from asynq.errors import TaskCancelledError
from asynq.handlers.outcome import Interrupted
from asynq.handlers.processes.main_module import MainModule
from asynq.handlers.processes.messages import HandlerCall
from asynq.handlers.processes.pool import ProcessCall
from asynq.runtime.threads import Answer, end_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.handlers.context import Context

T = TypeVar("T")

Handler: TypeAlias = "Callable[[Context, Any], Any]"
"""An async or plain function, a partial of one, or an object with `__call__`, of (ctx, task)."""

Executor: TypeAlias = Literal["thread", "process"]
"""Where a plain function runs."""


class HandlerAdapter(ABC):
    """A handler in the form a run awaits."""

    @abstractmethod
    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Carry out the task; what is returned is its result."""


def adapt_handler(
    handler: Handler, *, payload: Any = None, executor: Executor | None = None
) -> HandlerAdapter:
    """The step that runs a handler: coroutine functions as they are, plain functions in a thread.

    With `payload` the handler is given a decoded instance in the place of the task. TypeError for what
    cannot handle a task: not callable, a class, a generator function, or without room for two arguments; for
    what a process cannot import: anything but a function, and a type, at the top level of a module; and for
    a type that cannot be decoded (see `asynq.client.payload.payload_decoder`).
    ValueError for an executor that does not exist, and for options an async handler or a mux has no use for.
    """
    if isinstance(handler, HandlerAdapter):
        if payload is not None or executor is not None:
            raise ValueError("payload and executor are for functions; a mux has them on its own handlers")
        return handler
    _check(handler)
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process'; it is {executor!r}")
    step: HandlerAdapter
    if is_async(handler):
        if executor is not None:
            raise ValueError(f"executor is for plain functions; {_name(handler)} is async")
        step = AsyncAdapter(handler)
    elif executor == "process":
        _check_importable(handler)
        return ProcessAdapter(handler, _importable_type(payload))
    else:
        step = ThreadAdapter(handler)
    return step if payload is None else PayloadAdapter(step, _decoder(payload))


def is_async(function: Callable[..., Any]) -> bool:
    """True for what returns a coroutine by its own declaration: calling it runs nothing yet."""
    return _declared(inspect.iscoroutinefunction, function)


@frozen
class AsyncAdapter(HandlerAdapter):
    """Awaits a coroutine function on the event loop."""

    function: Handler

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler."""
        return await self.function(ctx, task)


@frozen
class ThreadAdapter(HandlerAdapter):
    """Runs a plain function in one of the server's threads."""

    function: Handler

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler; when it hands back something to await (a lambda around async code), await it."""
        answer = await _in_thread(ctx, partial(self.function, ctx, task))
        return await answer if inspect.isawaitable(answer) else answer


@frozen
class ProcessAdapter(HandlerAdapter):
    """Runs a plain function in one of the server's processes, which is killed when the run must end."""

    function: Handler
    payload: Any = None
    """The declared type of the payload, which the process decodes; None to give it the task."""

    async def __call__(self, ctx: Context, task: Task) -> bytes | None:
        """Run the handler; what it returned is encoded as a result already."""
        control = ctx.control
        errand = ProcessCall(control.executors.processes)
        call = HandlerCall(self.function, control.delivery, task, self.payload, control.deadline)
        return await _in_thread(ctx, partial(errand.run, call, control.broker), errand.kill)


@frozen
class PayloadAdapter(HandlerAdapter):
    """Hands the decoded payload to another step."""

    step: HandlerAdapter
    decode: Callable[[str, bytes], Any]

    async def __call__(self, ctx: Context, task: Task) -> Any:
        """Run the handler, or raise PayloadError: the task is then archived at once."""
        return await self.step(ctx, self.decode(task.type, task.payload))


async def _in_thread(ctx: Context, function: Callable[[], T], kill: Callable[[], None] | None = None) -> T:
    """Call the function in a thread. `kill` makes it end soon; without it nothing can stop a thread."""
    answer: Answer[T] = Answer()
    try:
        future = ctx.control.executors.threads.submit(copy_context().run, answer.fill, function)
    except RuntimeError as error:
        ctx.control.stop = ctx.control.stop or Interrupted("shutdown")
        raise TaskCancelledError("the server's threads have ended") from error
    ctx.control.calls.append(future)
    end = end_of(future)
    while not end.done():
        try:
            await asyncio.wait((end,))
        except asyncio.CancelledError:
            if kill is not None:
                kill()
            # A function that cannot be killed was told through ctx. Wait, so that middlewares around it end
            # after it, as long as the run waits for it too.
            if future.cancel() or not ctx.cancelled or ctx.control.abandoned:
                raise
    if future.cancelled():
        raise asyncio.CancelledError
    return answer.take()


def _check(handler: object) -> None:
    if not callable(handler):
        raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
    if isinstance(handler, type):
        raise TypeError(f"a handler must be a function or an object, not the class {handler.__name__}")
    if _declared(inspect.isgeneratorfunction, handler) or _declared(inspect.isasyncgenfunction, handler):
        raise TypeError(f"a handler must return, not yield: {_name(handler)} is a generator function")
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError as error:
        raise TypeError(f"a handler must take (ctx, task); {_name(handler)} does not: {error}") from None
    except ValueError:
        return  # some callables written in C do not tell their signature


def _check_importable(handler: Handler) -> None:
    """Refuse what a process could not find by the name of its module and its own."""
    if not inspect.isroutine(handler) or inspect.ismethod(handler) or "<" in handler.__qualname__:
        raise TypeError(
            "executor='process' needs a function at the top level of a module, which a process can import; "
            f"{_name(handler)} is not one"
        )
    if handler.__module__ == "__main__" and not MainModule.here().name:
        raise TypeError(
            f"executor='process' needs a function of a file; {_name(handler)} was typed at a prompt"
        )


def _decoder(payload: Any) -> Callable[[str, bytes], Any]:
    if payload is Task:
        raise TypeError("payload=Task is what a handler is given without payload=; leave it out")
    return payload_decoder(payload)


def _importable_type(payload: Any) -> Any:
    """The type, refused when it cannot be decoded, or not be found by a process."""
    if payload is not None:
        _decoder(payload)
        try:
            pickle.dumps(payload)
        except Exception as error:
            raise TypeError(
                f"executor='process' needs a type at the top level of a module, which a process can import; "
                f"payload={payload!r} is not one: {error}"
            ) from error
    return payload


def _declared(is_kind: Callable[[Any], bool], function: Any) -> bool:
    # inspect looks through partials, but not into objects with __call__.
    while isinstance(function, partial):
        function = function.func
    return is_kind(function) or (not inspect.isroutine(function) and is_kind(type(function).__call__))


def _name(handler: object) -> str:
    return getattr(handler, "__qualname__", None) or repr(handler)
