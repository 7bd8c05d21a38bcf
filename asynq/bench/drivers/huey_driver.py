"""huey: threads, and a list that the consumer pops from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import PAYLOAD, Meter, broker_url, main, now, repeat, timed
from huey import RedisHuey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

huey = RedisHuey("bench", url=broker_url(), results=False)
meter = Meter()


def run(payload: str) -> None:
    """Do nothing."""
    meter.run(payload)


task = huey.task()(run)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    return {
        "one": lambda count: timed(lambda: task(PAYLOAD), count),
        "fill": repeat(lambda: task(PAYLOAD)),
        "now": now(task),
    }


def work(concurrency: int) -> None:
    """Run the consumer."""
    huey.create_consumer(workers=concurrency, worker_type="thread", periodic=False).run()


if __name__ == "__main__":
    main(produce, work)
