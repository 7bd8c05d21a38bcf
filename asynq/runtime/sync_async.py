"""Sync and async methods from one coroutine: it runs on an event loop, or to its end on the caller's thread.

What waits for a broker is written once, as a coroutine over `BrokerCalls`. `AwaitedCalls` suspends it until
the broker answers; `BlockingCalls` blocks the thread and never suspends it, so that `completed` runs it like
a function. `called` and `iterated` make blocking methods of such coroutines, `awaited` and `streamed` their
counterparts for event loops; the object keeps its broker in `_broker`.
"""

from __future__ import annotations

import inspect
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Awaitable,
        Callable,
        Coroutine,
        Iterator,
        Sequence,
    )

    from asynq.errors import AsynqError
    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")

_SELF = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)


class BrokerCalls(Protocol):
    """A broker, as coroutines for both sides use it."""

    def execute(self, op: Op[T], /) -> Awaitable[T]:
        """See Broker."""
        ...

    def execute_many(self, ops: Sequence[Op[T]], /) -> Awaitable[list[T | AsynqError]]:
        """See Broker."""
        ...


class AwaitedCalls:
    """Suspends the coroutine until the broker answers."""

    def __init__(self, broker: Broker) -> None:
        self.execute = broker.aexecute
        self.execute_many = broker.aexecute_many


class BlockingCalls:
    """Blocks the thread until the broker answers."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        return self._broker.execute(op)

    async def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        return self._broker.execute_many(ops)


def completed(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end.

    Returns:
        What the coroutine returns. An error that it raises is raised here.

    Raises:
        RuntimeError: The coroutine suspended: something in it waits for an event loop.

    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine that must not wait for an event loop suspended")


def called(
    function: Callable[Concatenate[BrokerCalls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """Make a blocking method of a coroutine function."""

    @wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return completed(function(BlockingCalls(self._broker), *args, **kwargs))

    return _shown(method)


def awaited(
    function: Callable[Concatenate[BrokerCalls, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method of a coroutine function."""

    @wraps(function)
    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await function(AwaitedCalls(self._broker), *args, **kwargs)

    return _shown(method)


def iterated(
    function: Callable[Concatenate[BrokerCalls, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Any, P], Iterator[T]]:
    """Make a method for `for` of a function that returns an asynchronous iterator."""

    @wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _items(function(BlockingCalls(self._broker), *args, **kwargs))

    return _shown(method, "Iterator")


def streamed(
    function: Callable[Concatenate[BrokerCalls, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Any, P], AsyncIterator[T]]:
    """Make a method for `async for` of a function that returns an asynchronous iterator."""

    @wraps(function)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return function(AwaitedCalls(self._broker), *args, **kwargs)

    return _shown(method, "AsyncIterator")


def _shown(method: F, iterator: str = "") -> F:
    """Let `help` show the method as it is called: on an object, not on a broker."""
    signature = inspect.signature(method)
    parameters = [_SELF, *list(signature.parameters.values())[1:]]
    returned = signature.return_annotation
    if iterator:
        returned = returned.replace("AsyncGenerator", iterator, 1).replace(", None]", "]")
    method.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=returned
    )
    return method


def _items(stream: AsyncGenerator[T, None]) -> Iterator[T]:
    try:
        while True:
            try:
                item = completed(_next(stream))
            except StopAsyncIteration:
                return
            yield item
    finally:
        completed(stream.aclose())


async def _next(stream: AsyncIterator[T]) -> T:
    return await anext(stream)
