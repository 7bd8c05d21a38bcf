"""Verbs written once, for a plain face and an awaited one.

A plan is a generator: it yields operations, is sent their answers or thrown their errors, and returns what
the caller gets. A listing is one that also yields pages of what the caller iterates over. `plain` and
`listed` make methods of them, `awaited` and `streamed` their awaited counterparts, for objects that keep
their broker in `_broker`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from attrs import frozen

from asynq.errors import AsynqError
from asynq.protocol.ops import Op

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

P = ParamSpec("P")
R = TypeVar("R")


@frozen
class Page(Generic[R]):
    """Some of what a listing lists."""

    items: Sequence[R]


Plan = Generator[Op[Any], Any, R]
Listing = Generator[Op[Any] | Page[R], Any, None]


def plain(plan: Callable[P, Plan[R]]) -> Callable[Concatenate[Any, P], R]:
    """The plan as a method."""

    @wraps(plan)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        broker: Broker = self._broker
        steps = plan(*args, **kwargs)
        try:
            op = next(steps)
            while True:
                op = _fed(steps, _answer(broker, op))
        except StopIteration as end:
            result: R = end.value
            return result

    return method


def awaited(plan: Callable[P, Plan[R]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """The plan as a method to be awaited."""

    @wraps(plan)
    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> R:
        broker: Broker = self._broker
        steps = plan(*args, **kwargs)
        try:
            op = next(steps)
            while True:
                op = _fed(steps, await _aanswer(broker, op))
        except StopIteration as end:
            result: R = end.value
            return result

    return method


def listed(listing: Callable[P, Listing[R]]) -> Callable[Concatenate[Any, P], Iterator[R]]:
    """The listing as a method to be iterated over; misuse is refused at once, the rest asked later."""

    @wraps(listing)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        broker: Broker = self._broker
        steps = listing(*args, **kwargs)
        return _items(broker, steps, next(steps))

    return method


def streamed(listing: Callable[P, Listing[R]]) -> Callable[Concatenate[Any, P], AsyncIterator[R]]:
    """The listing as a method for `async for`."""

    @wraps(listing)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        broker: Broker = self._broker
        steps = listing(*args, **kwargs)
        return _aitems(broker, steps, next(steps))

    return method


def _items(broker: Broker, steps: Listing[R], step: Op[Any] | Page[R]) -> Iterator[R]:
    while True:
        if isinstance(step, Page):
            yield from step.items
        try:
            step = _fed(steps, None if isinstance(step, Page) else _answer(broker, step))
        except StopIteration:
            return


async def _aitems(broker: Broker, steps: Listing[R], step: Op[Any] | Page[R]) -> AsyncIterator[R]:
    while True:
        if isinstance(step, Page):
            for item in step.items:
                yield item
        try:
            step = _fed(steps, None if isinstance(step, Page) else await _aanswer(broker, step))
        except StopIteration:
            return


def _fed(steps: Generator[R, Any, Any], answer: Any) -> R:
    """Go on with an answer, or with an error in its place."""
    try:
        return steps.throw(answer) if isinstance(answer, AsynqError) else steps.send(answer)
    finally:
        # This frame is part of the traceback: it must not keep the error, and its callers, alive.
        del answer


def _answer(broker: Broker, op: Op[Any]) -> Any:
    try:
        return broker.execute(op)
    except AsynqError as error:
        return error


async def _aanswer(broker: Broker, op: Op[Any]) -> Any:
    try:
        return await broker.aexecute(op)
    except AsynqError as error:
        return error
