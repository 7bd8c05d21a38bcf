"""dramatiq: threads."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from harness import PAYLOAD, Meter, broker_url, main, now, repeat, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

broker = RedisBroker(url=broker_url())
dramatiq.set_broker(broker)
meter = Meter()


def run(payload: str) -> None:
    """Do nothing."""
    meter.run(payload)


actor = dramatiq.actor(run)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    return {
        "one": lambda count: timed(lambda: actor.send(PAYLOAD), count),
        "fill": repeat(lambda: actor.send(PAYLOAD)),
        "now": now(actor.send),
    }


def work(concurrency: int) -> None:
    """Run a worker until it is terminated."""
    dramatiq.Worker(broker, worker_threads=concurrency).start()
    signal.pause()


if __name__ == "__main__":
    main(produce, work)
