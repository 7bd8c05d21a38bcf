"""saq: async."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from harness import PAYLOAD, Meter, broker_url, main, timed_async, timed_payload
from saq import Queue, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

CONCURRENT = 100
NO_RESULT = -1
"""A time to live that makes saq store no result."""

meter = Meter()


async def run(ctx: dict[str, Any], *, payload: str) -> None:  # noqa: ARG001 - the shape of its functions
    """Do nothing."""
    meter.run(payload)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    loop = asyncio.new_event_loop()
    queue = Queue.from_url(broker_url())
    loop.run_until_complete(queue.connect())

    def enqueue(payload: str = PAYLOAD) -> Coroutine[Any, Any, Any]:
        coroutine: Coroutine[Any, Any, Any] = queue.enqueue("run", payload=payload, ttl=NO_RESULT)
        return coroutine

    async def fill(count: int) -> None:
        await timed_async(enqueue, count, CONCURRENT, warm_up=0)

    async def now() -> None:
        await enqueue(timed_payload())

    return {
        "async": lambda count: loop.run_until_complete(timed_async(enqueue, count)),
        "concurrent": lambda count: loop.run_until_complete(timed_async(enqueue, count, CONCURRENT)),
        "fill": lambda count: loop.run_until_complete(fill(count)),
        "now": lambda _: loop.run_until_complete(now()),
    }


def work(concurrency: int) -> None:
    """Run a worker."""
    queue = Queue.from_url(broker_url())
    asyncio.run(Worker(queue, [run], concurrency=concurrency).start())


if __name__ == "__main__":
    main(produce, work)
