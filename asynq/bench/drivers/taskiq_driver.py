"""taskiq: async, and a stream whose messages are acknowledged."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from harness import PAYLOAD, Meter, broker_url, main, timed_async, timed_payload
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

CONCURRENT = 100

broker = RedisStreamBroker(url=broker_url())
meter = Meter()


async def run(payload: str) -> None:
    """Do nothing."""
    meter.run(payload)


task = broker.task(run)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())

    def enqueue() -> Coroutine[Any, Any, Any]:
        coroutine: Coroutine[Any, Any, Any] = task.kiq(PAYLOAD)
        return coroutine

    async def fill(count: int) -> None:
        await timed_async(enqueue, count, CONCURRENT, warm_up=0)

    async def now() -> None:
        await task.kiq(timed_payload())

    return {
        "async": lambda count: loop.run_until_complete(timed_async(enqueue, count)),
        "concurrent": lambda count: loop.run_until_complete(timed_async(enqueue, count, CONCURRENT)),
        "fill": lambda count: loop.run_until_complete(fill(count)),
        "now": lambda _: loop.run_until_complete(now()),
    }


def work(concurrency: int) -> None:
    """Run a receiver."""
    asyncio.run(
        run_receiver_task(broker, max_async_tasks=concurrency, max_prefetch=concurrency, run_startup=True)
    )


if __name__ == "__main__":
    main(produce, work)
