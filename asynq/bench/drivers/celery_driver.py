"""celery: threads in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery
from harness import PAYLOAD, Meter, broker_url, main, now, repeat, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

app = Celery("bench", broker=broker_url())
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 4
meter = Meter()


def run(payload: str) -> None:
    """Do nothing."""
    meter.run(payload)


task = app.task(name="bench.run")(run)


def produce() -> Mapping[str, Callable[[int], Any]]:
    """The modes of the producer."""
    return {
        "one": lambda count: timed(lambda: task.delay(PAYLOAD), count),
        "fill": repeat(lambda: task.delay(PAYLOAD)),
        "now": now(task.delay),
    }


def work(concurrency: int) -> None:
    """Run a worker."""
    app.worker_main(["worker", "--pool", "threads", "--concurrency", str(concurrency), "--loglevel", "error"])


if __name__ == "__main__":
    main(produce, work)
