"""How soon an idle worker starts a new task, and what it asks of the store while it has none."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.row import latency_row
from asynq.bench.summary import percentile
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import Trial

PICKUPS = 200
LONGEST = 10.0
"""Seconds after which fewer pick-ups must do: some task queues poll once a second."""
CONCURRENCY = 10


@frozen(kw_only=True)
class PickUpScenario:
    """Tasks are enqueued one after the other, at irregular intervals, for a worker that is otherwise idle."""

    store: str = "redis"
    costly: bool = False

    @property
    def mode(self) -> str:
        """See `Scenario`."""
        return "now"

    def measure(self, trial: Trial) -> dict[str, float]:
        """Milliseconds from just before an enqueue to the start of the handler."""
        trial.store.reset()
        seconds: list[float] = []
        with trial.producer() as producer, trial.worker(WorkerOptions(concurrency=CONCURRENCY)) as worker:

            def pick_up() -> float:
                producer.ask("now 1")
                return worker.reports.seconds("pickup", worker.child)

            for _ in range(5):
                pick_up()
            end = time.monotonic() + LONGEST
            while len(seconds) < trial.tasks(PICKUPS) and (time.monotonic() < end or len(seconds) < 10):
                time.sleep(random.uniform(0.005, 0.025))  # noqa: S311 - no secret
                seconds.append(pick_up())
        return {f"p{percent}": percentile(seconds, percent) * 1000 for percent in (50, 99)}


ROWS = tuple(
    latency_row(
        PickUpScenario(), f"pickup-p{percent}", f"idle pick-up p{percent}", f"p{percent}", floor, goal=goal
    )
    for percent, floor, goal in ((50, 1.5, 0.9), (99, 5.0, 3.0))
)
