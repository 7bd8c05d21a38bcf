"""arq: async, and a sorted set that the worker polls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from harness import PAYLOAD, Meter, broker_url, main, timed_async, timed_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

CONCURRENT = 100

meter = Meter()


async def run(ctx: dict[str, Any], payload: str) -> None:  # noqa: ARG001 - the shape of its functions
    """Do nothing."""
    meter.run(payload)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    loop = asyncio.new_event_loop()
    pool = loop.run_until_complete(create_pool(RedisSettings.from_dsn(broker_url())))

    def enqueue(payload: str = PAYLOAD) -> Coroutine[Any, Any, Any]:
        coroutine: Coroutine[Any, Any, Any] = pool.enqueue_job("run", payload)
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
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        [func(run, keep_result=0)],
        redis_settings=RedisSettings.from_dsn(broker_url()),
        max_jobs=concurrency,
    ).run()


if __name__ == "__main__":
    main(produce, work)
