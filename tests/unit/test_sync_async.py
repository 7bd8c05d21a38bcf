"""One coroutine serves both blocking and async callers."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncInspector, Inspector, MemoryBroker, QueueInfo, Task
from asynq.client.client import Client
from asynq.errors import QueueNotFoundError
from asynq.runtime.sync_async import BlockingCalls, awaited, called, completed, iterated, streamed

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from asynq.runtime.sync_async import BrokerCalls


async def double(broker: BrokerCalls, number: int) -> int:
    del broker
    return 2 * number


async def count(broker: BrokerCalls, upto: int, ended: list[str]) -> AsyncGenerator[int, None]:
    del broker
    try:
        for number in range(upto):
            yield number
    finally:
        ended.append("ended")


class Blocking:
    _broker = MemoryBroker()
    double = called(double)
    count = iterated(count)


class Awaited:
    _broker = MemoryBroker()
    double = awaited(double)
    count = streamed(count)


async def test_a_coroutine_function_becomes_a_sync_or_an_async_method() -> None:
    assert Blocking().double(4) == await Awaited().double(4) == 8
    assert list(inspect.signature(Blocking().double).parameters) == ["number"]


async def test_an_async_generator_becomes_a_sync_or_an_async_iterator() -> None:
    assert list(Blocking().count(3, [])) == [number async for number in Awaited().count(3, [])] == [0, 1, 2]


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        (called(double), "(self, /, number: 'int') -> 'int'"),
        (awaited(double), "(self, /, number: 'int') -> 'int'"),
        (iterated(count), "(self, /, upto: 'int', ended: 'list[str]') -> 'Iterator[int]'"),
        (streamed(count), "(self, /, upto: 'int', ended: 'list[str]') -> 'AsyncIterator[int]'"),
    ],
)
def test_help_shows_a_method_as_it_is_called(method: Callable[..., Any], shown: str) -> None:
    assert str(inspect.signature(method)) == shown


def test_an_abandoned_iteration_closes_its_generator() -> None:
    ended: list[str] = []
    numbers = Blocking().count(3, ended)
    assert next(numbers) == 0
    del numbers
    assert ended == ["ended"]


def test_a_coroutine_that_waits_for_an_event_loop_is_refused() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="suspended"):
        completed(waits())


async def test_blocking_calls_work_while_an_event_loop_runs() -> None:
    broker = MemoryBroker()
    Client(broker).enqueue(Task("t"))
    assert isinstance(Inspector(broker).queue_info("default"), QueueInfo)
    assert len(list(Inspector(broker).tasks("default", "pending"))) == 1
    assert completed(BlockingCalls(broker).execute_many([])) == []


async def test_invalid_input_of_a_listing_is_refused_before_the_first_step() -> None:
    for inspector in (Inspector(MemoryBroker()), AsyncInspector(MemoryBroker())):
        with pytest.raises(ValueError, match="group"):
            inspector.tasks("default", "pending", group="g")
    with pytest.raises(QueueNotFoundError):
        next(Inspector(MemoryBroker()).tasks("nowhere", "pending"))
