"""rq: one task at a time in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import BATCH, PAYLOAD, Meter, broker_url, main, now, repeat, timed
from redis import Redis
from rq import Queue, SimpleWorker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NO_RESULT = 0
"""A time to live that makes rq delete a finished task at once."""

meter = Meter()


def run(payload: str) -> None:
    """Do nothing."""
    meter.run(payload)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    queue = Queue("bench", connection=Redis.from_url(broker_url()))

    def enqueue(payload: str = PAYLOAD) -> None:
        queue.enqueue("rq_driver.run", payload, result_ttl=NO_RESULT)

    def batch() -> None:
        data = [Queue.prepare_data("rq_driver.run", (PAYLOAD,), result_ttl=NO_RESULT) for _ in range(BATCH)]
        queue.enqueue_many(data)

    return {
        "one": lambda count: timed(enqueue, count),
        "many": lambda count: timed(batch, count // BATCH, warm_up=1),
        "fill": repeat(enqueue),
        "now": now(enqueue),
    }


def work(_: int) -> None:
    """Run a worker that does not fork for each task."""
    connection = Redis.from_url(broker_url())
    SimpleWorker([Queue("bench", connection=connection)], connection=connection).work(logging_level="WARNING")


if __name__ == "__main__":
    main(produce, work)
