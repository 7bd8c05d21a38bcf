"""How fast a worker empties a full queue, and the CPU time that a task costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.cpu import helpers_cpu_seconds
from asynq.bench.row import Row, rate_row
from asynq.bench.summary import Better
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import RunningWorker, Trial

TASKS = 80_000
WARM_UP = 2
"""One in this many tasks is run before the measured ones. Meanwhile the lease keeper starts, which takes
half a second of CPU time."""


@frozen(kw_only=True)
class DrainScenario:
    """A worker starts with a full queue. Measured is the time between two of its runs."""

    concurrency: int
    store: str = "redis"
    costly: bool = False
    fill: str = "fill"
    queues: int = 1
    tasks: int = TASKS

    @property
    def mode(self) -> str | None:
        """Other task queues drain one queue with async handlers, or with what they have, at 50."""
        return "fill" if self == DrainScenario(concurrency=50) else None

    def measure(self, trial: Trial) -> dict[str, float]:
        """Speed and costs. The names that begin with life_ include the enqueue of the task in a batch."""
        tasks = trial.tasks(self.tasks)
        trial.store.reset()
        with trial.producer() as producer:
            before = trial.store.usage()
            producer.ask(f"{self.fill} {tasks}")
            filling = trial.store.usage().since(before)
        marks = (tasks // WARM_UP, tasks)
        options = WorkerOptions(concurrency=self.concurrency, queues=self.queues)
        with trial.worker(options, marks) as worker:
            costs = between_marks(trial, worker)
        return {
            **costs,
            "life_us": costs["store_us"] + filling.cpu_seconds / tasks * 1e6,
            "life_bytes": costs["bytes"] + filling.network_bytes / tasks,
            "pending_bytes": filling.memory_bytes / tasks,
        }


def between_marks(trial: Trial, worker: RunningWorker) -> dict[str, float]:
    """Tasks a second, and what a task costs, between the next two marks of a worker.

    CPU times are in microseconds: that of the worker with its helper processes, and that of the store.
    """
    first = worker.reports.mark(worker.child)
    before, helpers = trial.store.usage(), helpers_cpu_seconds(worker.child.pid)
    last = worker.reports.mark(worker.child)
    used = trial.store.usage().since(before)
    helpers = helpers_cpu_seconds(worker.child.pid) - helpers
    runs = last.runs - first.runs
    return {
        "rate": runs / (last.at - first.at),
        "worker_us": (last.cpu - first.cpu + helpers) / runs * 1e6,
        "store_us": used.cpu_seconds / runs * 1e6,
        "bytes": used.network_bytes / runs,
        "scripts": used.scripts / runs,
    }


ROWS = (
    *(
        rate_row(
            DrainScenario(concurrency=concurrency),
            f"drain-{concurrency}",
            f"drain, async handlers, concurrency {concurrency}",
            "C50",
            bounds,
            go_bounds=go_bounds,
        )
        for concurrency, bounds, go_bounds in (
            (10, (0.20, 0.30), None),
            (50, (0.30, 0.45), (2.0, 3.5)),
            (200, (0.38, 0.55), None),
        )
    ),
    rate_row(
        DrainScenario(concurrency=50, fill="fill-thread"),
        "drain-threads-50",
        "drain, plain functions in threads, 50",
        "C50",
        (0.25, 0.40),
    ),
    Row(
        name="cpu-worker-50",
        title="worker CPU per task, keeper included, 50",
        unit="us",
        better=Better.LOWER,
        scenario=DrainScenario(concurrency=50),
        figure="worker_us",
        floor=60,
        goal=35,
    ),
    Row(
        name="cpu-redis-50",
        title="Redis CPU per task, enqueued in batches, 50",
        unit="us",
        better=Better.LOWER,
        scenario=DrainScenario(concurrency=50),
        figure="life_us",
        floor=30,
        goal=18,
    ),
    *(
        Row(
            name=name,
            title=title,
            unit=unit,
            better=Better.LOWER,
            scenario=DrainScenario(concurrency=50),
            figure=figure,
        )
        for name, title, unit, figure in (
            ("redis-scripts-50", "Redis scripts called per task, 50", "calls", "scripts"),
            (
                "redis-bytes-50",
                "network traffic of Redis per task, enqueue included, 50",
                "bytes",
                "life_bytes",
            ),
            ("redis-memory", "Redis memory per pending task", "bytes", "pending_bytes"),
        )
    ),
)
