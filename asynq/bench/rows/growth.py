"""What a task costs when there are many queues, active tasks, pending tasks or groups, relative to few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.names import FEW_ACTIVE, MANY_ACTIVE, MANY_QUEUES
from asynq.bench.row import Row
from asynq.bench.rows.drain import WARM_UP, DrainScenario, between_marks
from asynq.bench.summary import Better
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import Scenario, Trial

TASKS = 60_000
MEANWHILE = 40_000
"""Tasks that are drained beside a backlog: for longer than the periods of a worker's loops."""
CONCURRENCY = 50


@frozen(kw_only=True)
class CostScenario:
    """The costs of a task under `many`, as multiples of those under `few`."""

    few: DrainScenario
    many: DrainScenario
    store: str = "redis"
    mode: str | None = None
    costly: bool = False

    def measure(self, trial: Trial) -> dict[str, float]:
        """Multiples of the CPU time of the worker, of the store, and of both."""
        few, many = self.few.measure(trial), self.many.measure(trial)
        for costs in (few, many):
            costs["both_us"] = costs["worker_us"] + costs["store_us"]
        return {name: many[name] / few[name] for name in ("worker_us", "store_us", "both_us")}


@frozen(kw_only=True)
class Waiting:
    """Tasks that wait while others are drained."""

    fill: str
    few: int
    many: int


@frozen(kw_only=True)
class BacklogScenario:
    """The costs of a task while many others wait, as multiples of those while few wait."""

    waiting: Waiting
    aggregates: bool = False
    store: str = "redis"
    mode: str | None = None
    costly: bool = True

    def measure(self, trial: Trial) -> dict[str, float]:
        """Multiple of the CPU time of worker and store together."""
        few, many = (self._cost(trial, waiting) for waiting in (self.waiting.few, self.waiting.many))
        return {"both_us": many / few}

    def _cost(self, trial: Trial, waiting: int) -> float:
        tasks = trial.tasks(MEANWHILE)
        trial.store.reset()
        with trial.producer() as producer:
            producer.ask(f"{self.waiting.fill} {trial.tasks(waiting)}")
            producer.ask(f"fill {tasks}")
        options = WorkerOptions(concurrency=CONCURRENCY, aggregates=self.aggregates)
        marks = (tasks // WARM_UP, tasks)
        with trial.worker(options, marks) as worker:
            costs = between_marks(trial, worker)
        return costs["worker_us"] + costs["store_us"]


def _row(scenario: Scenario, name: str, title: str, figure: str) -> Row:
    return Row(
        name=name,
        title=title,
        unit="x",
        better=Better.LOWER,
        scenario=scenario,
        figure=figure,
        floor=1.5,
        goal=1.2,
    )


_QUEUES = CostScenario(
    few=DrainScenario(concurrency=CONCURRENCY, tasks=TASKS),
    many=DrainScenario(concurrency=CONCURRENCY, tasks=TASKS, fill="fill-queues", queues=MANY_QUEUES),
)
# In both, 50 tasks end at once, so that calls carry as many of them.
_ACTIVE = CostScenario(
    few=DrainScenario(concurrency=FEW_ACTIVE, tasks=TASKS, fill="fill-few-active"),
    many=DrainScenario(concurrency=MANY_ACTIVE, tasks=TASKS, fill="fill-many-active"),
)

ROWS = (
    _row(_QUEUES, "queues-300-worker", "300 queues in one worker, worker CPU, to one queue", "worker_us"),
    _row(_QUEUES, "queues-300-redis", "300 queues in one worker, Redis CPU, to one queue", "store_us"),
    _row(_ACTIVE, "active-1000", "1,000 active in random order, Redis CPU, to 50", "store_us"),
    _row(
        BacklogScenario(waiting=Waiting(fill="fill", few=1_000, many=200_000)),
        "growth-pending",
        "200,000 pending, CPU, to 1,000 pending",
        "both_us",
    ),
    _row(
        BacklogScenario(waiting=Waiting(fill="fill-groups", few=100, many=20_000), aggregates=True),
        "growth-groups",
        "20,000 waiting groups, CPU, to 100 groups",
        "both_us",
    ),
)
