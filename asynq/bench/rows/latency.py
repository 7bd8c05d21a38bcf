"""How late scheduled tasks start, and how long a cancellation and the wait for a result take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.names import DUE_A_SECOND
from asynq.bench.row import latency_row
from asynq.bench.summary import percentile
from asynq.bench.system import WorkerOptions

if TYPE_CHECKING:
    from asynq.bench.trial import Trial

CONCURRENCY = 50
SECONDS = 5
CANCELLATIONS = 40
RESULTS = 200


@frozen(kw_only=True)
class ScheduledScenario:
    """100 tasks become due at each of several seconds, while others wait that are due in a day."""

    waiting: int
    store: str = "redis"
    mode: str | None = None
    costly: bool = True

    def measure(self, trial: Trial) -> dict[str, float]:
        """Milliseconds from the due time to the start of the handler."""
        seconds = 1 if trial.quick else SECONDS
        trial.store.reset()
        with trial.producer() as producer, trial.worker(WorkerOptions(concurrency=CONCURRENCY)) as worker:
            producer.ask(f"fill-later {self.waiting if self.waiting == 1 else trial.tasks(self.waiting)}")
            producer.ask("now 1")
            worker.reports.seconds("pickup", worker.child)
            producer.ask(f"schedule {seconds}")
            late = [worker.reports.seconds("pickup", worker.child) for _ in range(seconds * DUE_A_SECOND)]
        return {"p99": percentile(late, 99) * 1000}


@frozen(kw_only=True)
class CancelScenario:
    """An inspector cancels a running task."""

    store: str = "redis"
    mode: str | None = None
    costly: bool = False

    def measure(self, trial: Trial) -> dict[str, float]:
        """Milliseconds from just before the cancellation until the handler is cancelled."""
        trial.store.reset()
        seconds: list[float] = []
        with trial.producer() as producer, trial.worker(WorkerOptions(concurrency=CONCURRENCY)) as worker:
            for _ in range(max(trial.tasks(CANCELLATIONS) // (10 if trial.quick else 1), 10)):
                producer.ask("start 1")
                worker.reports.line("started", worker.child)
                asked = producer.ask("cancel 1")
                seconds.append(worker.reports.seconds("cancelled", worker.child) - asked)
        return {"p50": percentile(seconds, 50) * 1000}


@frozen(kw_only=True)
class WaitScenario:
    """A client enqueues a task and waits for its result."""

    store: str = "redis"
    mode: str | None = None
    costly: bool = False

    def measure(self, trial: Trial) -> dict[str, float]:
        """Milliseconds from the end of the handler until the client has the result."""
        trial.store.reset()
        with trial.producer() as producer, trial.worker(WorkerOptions(concurrency=CONCURRENCY)):
            seconds = producer.ask(f"wait {20 if trial.quick else RESULTS}")
        return {"p50": percentile(seconds, 50) * 1000}


ROWS = (
    latency_row(
        ScheduledScenario(waiting=1),
        "scheduled-1",
        "lateness p99 of scheduled tasks, 1 waiting",
        "p99",
        20,
    ),
    latency_row(
        ScheduledScenario(waiting=100_000),
        "scheduled-100000",
        "lateness p99 of scheduled tasks, 100,000 waiting",
        "p99",
        20,
    ),
    latency_row(CancelScenario(), "cancel", "cancellation of a running task, p50", "p50", 50),
    latency_row(WaitScenario(), "wait", "wait for a result, p50", "p50", 50),
)
