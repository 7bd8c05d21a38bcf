"""The producer of the measured library: `python -m asynq.bench.producer`."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asynq
from asynq.bench.drivers.harness import (
    BATCH,
    PAYLOAD,
    broker_url,
    payload_with,
    serve,
    timed,
    timed_async,
    timed_payload,
)
from asynq.bench.names import (
    DUE_A_SECOND,
    FEW_ACTIVE,
    HOLD,
    MANY_ACTIVE,
    MANY_QUEUES,
    NOOP,
    THIRD,
    THREAD,
    TIME,
    WAIT,
    queue_names,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONCURRENT = 100
LEAD = 1.5
"""Seconds until the first of them is due, at least."""
KEPT = timedelta(minutes=10)

client = asynq.Client(broker_url())
inspector = asynq.Inspector(broker_url())


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


def fill(kind: str, count: int, payload: str = PAYLOAD, **options: Any) -> None:
    """Enqueue `count` tasks."""
    for numbers in chunks(count):
        enqueue_all([asynq.Task(kind, payload) for _ in numbers], **options)


def held_payload(active: int) -> str:
    """For tasks of which `active` run at the same time."""
    return f"{active} ".ljust(len(PAYLOAD), "x")


def fill_queues(count: int) -> None:
    """Enqueue `count` tasks, spread evenly over many queues."""
    names = queue_names(MANY_QUEUES)
    for numbers in chunks(count):
        enqueue_all([asynq.Task(NOOP, PAYLOAD, queue=names[number % MANY_QUEUES]) for number in numbers])


def enqueue_all(tasks: list[asynq.Task], **options: Any) -> None:
    """Enqueue the tasks in one call.

    Raises:
        AsynqError: one of them was not enqueued.
    """
    for info in client.enqueue_many(tasks, **options):
        if isinstance(info, asynq.AsynqError):
            raise info


def fill_groups(count: int) -> None:
    """Enqueue `count` tasks, each into a group of its own."""
    for numbers in chunks(count):
        enqueue_all([asynq.Task(NOOP, PAYLOAD, group=f"group-{number}") for number in numbers])


def schedule(seconds: int) -> None:
    """Schedule tasks for each of the next seconds. Their payloads contain the time at which they are due."""
    first = math.ceil(time.time() + LEAD)
    for due in range(first, first + seconds):
        at = datetime.fromtimestamp(due, UTC)
        enqueue_all([asynq.Task(NOOP, payload_with(due), process_at=at) for _ in range(DUE_A_SECOND)])


def enqueue_now(_: int) -> None:
    """Enqueue one task that contains the current time."""
    client.enqueue(asynq.Task(NOOP, timed_payload()))


def start_and_cancel() -> tuple[Callable[[int], None], Callable[[int], float]]:
    """Functions that enqueue a waiting task, and that cancel it and return the time just before."""
    task_id = ""

    def start(_: int) -> None:
        nonlocal task_id
        task_id = client.enqueue(asynq.Task(WAIT, PAYLOAD), max_retry=0).id

    def cancel(_: int) -> float:
        before = time.time()
        inspector.cancel(task_id)
        return before

    return start, cancel


def wait_for_results(count: int) -> list[float]:
    """Wait for results, one after the other. Returns the seconds from the end of each handler."""

    def one() -> float:
        info = client.enqueue(asynq.Task(TIME, PAYLOAD), retention=KEPT)
        ended = float(client.wait(info, timeout=KEPT))
        return time.time() - ended

    for _ in range(5):
        one()
    return [one() for _ in range(count)]


def chunks(count: int) -> Iterator[range]:
    """The numbers below `count`, in ranges of at most BATCH."""
    return (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))


if __name__ == "__main__":
    start, cancel = start_and_cancel()
    serve(
        {
            "one": enqueue_one_by_one,
            "async": enqueue_async,
            "concurrent": lambda count: enqueue_async(count, CONCURRENT),
            "many": enqueue_many,
            "now": enqueue_now,
            "fill": lambda count: fill(NOOP, count),
            "fill-thread": lambda count: fill(THREAD, count),
            "fill-few-active": lambda count: fill(HOLD, count, held_payload(FEW_ACTIVE)),
            "fill-many-active": lambda count: fill(HOLD, count, held_payload(MANY_ACTIVE)),
            "fill-third": lambda count: fill(THIRD, count, max_retry=0),
            "fill-queues": fill_queues,
            "fill-later": lambda count: fill(NOOP, count, process_in=timedelta(days=1)),
            "fill-groups": fill_groups,
            "schedule": schedule,
            "start": start,
            "cancel": cancel,
            "wait": wait_for_results,
        }
    )
