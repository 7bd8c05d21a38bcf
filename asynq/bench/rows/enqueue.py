"""How fast a client enqueues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.drivers.harness import BATCH
from asynq.bench.row import rate_row

if TYPE_CHECKING:
    from asynq.bench.trial import Trial


@frozen(kw_only=True)
class EnqueueScenario:
    """A producer enqueues in one of its modes, without a worker."""

    mode: str
    """Mode of the producer, also of another task queue."""
    tasks: int
    batch: int = 1
    """Tasks of a call, of which no part can be measured."""
    store: str = "redis"
    costly: bool = False

    def measure(self, trial: Trial) -> dict[str, float]:
        """Tasks a second."""
        tasks = max(trial.tasks(self.tasks) // self.batch, 1) * self.batch
        trial.store.reset()
        with trial.producer() as producer:
            return {"rate": tasks / producer.ask(f"{self.mode} {tasks}")}


ROWS = (
    rate_row(
        EnqueueScenario(mode="one", tasks=5_000),
        "enqueue-sync",
        "enqueue, sync, one by one",
        "C1",
        (0.40, 0.65),
    ),
    rate_row(
        EnqueueScenario(mode="async", tasks=5_000),
        "enqueue-async",
        "enqueue, async, one by one",
        "C1",
        (0.30, 0.50),
    ),
    rate_row(
        EnqueueScenario(mode="concurrent", tasks=50_000),
        "enqueue-concurrent",
        "100 concurrent enqueues",
        "C50",
        (0.45, 0.80),
    ),
    rate_row(
        EnqueueScenario(mode="many", tasks=100_000, batch=BATCH),
        "enqueue-many",
        "enqueue_many of 1,000",
        "C50",
        (1.0, 1.6),
    ),
)
