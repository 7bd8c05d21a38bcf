"""The producer of the measured library: `python -m asynq.bench.producer`."""

from __future__ import annotations

import asyncio
from itertools import cycle, islice
from typing import TYPE_CHECKING

import asynq
from asynq.bench.drivers.harness import BATCH, PAYLOAD, broker_url, serve, timed, timed_async, timed_payload
from asynq.bench.names import NOOP, THREAD, queue_names

if TYPE_CHECKING:
    from collections.abc import Iterable

CONCURRENT = 100
MANY_QUEUES = 300

client = asynq.Client(broker_url())


def enqueue_one_by_one(count: int) -> float:
    """Seconds for `count` enqueues of the sync client."""
    return timed(lambda: client.enqueue(asynq.Task(NOOP, PAYLOAD)), count)


def enqueue_async(count: int, concurrency: int = 1) -> float:
    """Seconds for `count` enqueues of the async client."""

    async def run() -> float:
        async with asynq.AsyncClient(broker_url()) as async_client:
            return await timed_async(
                lambda: async_client.enqueue(asynq.Task(NOOP, PAYLOAD)), count, concurrency
            )

    return asyncio.run(run())


def enqueue_many(count: int) -> float:
    """Seconds for `count` tasks in batches."""
    return timed(lambda: fill(NOOP, BATCH), count // BATCH, warm_up=2)


def fill(kind: str, count: int, queues: Iterable[str] = queue_names(1)) -> None:
    """Enqueue `count` tasks, spread evenly over the queues.

    Raises:
        AsynqError: one of them was not enqueued.
    """
    names = cycle(queues)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        tasks = [asynq.Task(kind, PAYLOAD, queue=name) for name in islice(names, size)]
        for info in client.enqueue_many(tasks):
            if isinstance(info, asynq.AsynqError):
                raise info


def enqueue_now(_: int) -> None:
    """Enqueue one task that contains the current time."""
    client.enqueue(asynq.Task(NOOP, timed_payload()))


if __name__ == "__main__":
    serve(
        {
            "one": enqueue_one_by_one,
            "async": enqueue_async,
            "concurrent": lambda count: enqueue_async(count, CONCURRENT),
            "many": enqueue_many,
            "now": enqueue_now,
            "fill": lambda count: fill(NOOP, count),
            "fill-thread": lambda count: fill(THREAD, count),
            "fill-queues": lambda count: fill(NOOP, count, queue_names(MANY_QUEUES)),
        }
    )
