"""What an idle worker asks of Redis, and how much memory it has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.cpu import proportional_bytes, resident_bytes
from asynq.bench.row import Row
from asynq.bench.summary import Better
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import Trial

SECONDS = 20
"""As long as several periods of every loop of a worker but the slowest."""
SETTLE = 2
"""Seconds after its first task until a worker counts as idle."""
CONCURRENCY = 10


@frozen(kw_only=True)
class IdleScenario:
    """A worker has started, has run one task, and has no other."""

    store: str = "redis"
    costly: bool = True

    @property
    def mode(self) -> str:
        """See `Scenario`."""
        return "now"

    def measure(self, trial: Trial) -> dict[str, float]:
        """Commands a second, and memory in MB of the worker with its helper processes."""
        trial.store.reset()
        with trial.producer() as producer, trial.worker(WorkerOptions(concurrency=CONCURRENCY)) as worker:
            producer.ask("now 1")
            worker.reports.seconds("pickup", worker.child)
            producer.stop()
            time.sleep(SETTLE)
            seconds = 2 if trial.quick else SECONDS
            before = trial.store.usage()
            time.sleep(seconds)
            commands = trial.store.usage().since(before).commands
            resident = resident_bytes(worker.child.pid)
            proportional = proportional_bytes(worker.child.pid)
        return {
            "commands": commands / seconds,
            "resident_mb": resident / 1e6,
            "proportional_mb": proportional / 1e6,
        }


ROWS = (
    Row(
        name="idle-commands",
        title="idle worker, Redis commands, scripts included",
        unit="commands/s",
        better=Better.LOWER,
        scenario=IdleScenario(),
        figure="commands",
        floor=3.0,
        goal=1.5,
    ),
    Row(
        name="memory-start",
        title="memory of an idle worker, keeper included",
        unit="MB",
        better=Better.LOWER,
        scenario=IdleScenario(),
        figure="resident_mb",
    ),
    # What a worker takes from the machine: the pages of shared libraries count once for both processes.
    Row(
        name="memory-start-pss",
        title="memory of an idle worker and its keeper, shared pages once (PSS)",
        unit="MB",
        better=Better.LOWER,
        scenario=IdleScenario(),
        figure="proportional_mb",
        floor=57.7,
    ),
)
