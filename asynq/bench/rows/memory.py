"""Whether the memory of a worker grows with the number of tasks that it has run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.cpu import resident_bytes
from asynq.bench.row import Row
from asynq.bench.summary import Better
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import Trial

TASKS = 20_000
CONCURRENCY = 50


@frozen(kw_only=True)
class MemoryScenario:
    """A worker runs tasks, a third of which fail and are archived."""

    store: str = "redis"
    mode: str | None = None
    costly: bool = True

    def measure(self, trial: Trial) -> dict[str, float]:
        """MB of memory that worker and keeper have more after all tasks than after a quarter."""
        tasks = trial.tasks(TASKS)
        trial.store.reset()
        with trial.producer() as producer:
            producer.ask(f"fill-third {tasks}")
        with trial.worker(WorkerOptions(concurrency=CONCURRENCY), (tasks // 4, tasks)) as worker:
            worker.reports.mark(worker.child)
            before = resident_bytes(worker.child.pid)
            worker.reports.mark(worker.child)
            after = resident_bytes(worker.child.pid)
        return {"growth_mb": (after - before) / 1e6}


ROWS = (
    Row(
        name="memory-growth",
        title="growth of a worker in 15,000 tasks, a third of which fail",
        unit="MB",
        better=Better.LOWER,
        scenario=MemoryScenario(),
        figure="growth_mb",
        floor=2,
    ),
)
