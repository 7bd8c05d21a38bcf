"""The same measurements on a SQLite file."""

from __future__ import annotations

from asynq.bench.drivers.harness import BATCH
from asynq.bench.row import latency_row, rate_row
from asynq.bench.rows.drain import DrainScenario
from asynq.bench.rows.enqueue import EnqueueScenario
from asynq.bench.rows.latency import CancelScenario, WaitScenario
from asynq.bench.rows.pickup import PickUpScenario

SQLITE, DISK = "sqlite", "sqlite-disk"


ROWS = (
    rate_row(
        EnqueueScenario(mode="one", tasks=10_000, store=SQLITE),
        "sqlite-enqueue",
        "SQLite: enqueue, sync, one by one",
        "S1",
        (0.25, 0.37),
    ),
    rate_row(
        EnqueueScenario(mode="many", tasks=50_000, batch=BATCH, store=SQLITE),
        "sqlite-enqueue-many",
        "SQLite: enqueue_many of 1,000",
        "S50",
        (0.18, 0.29),
    ),
    rate_row(
        DrainScenario(concurrency=50, tasks=40_000, store=SQLITE),
        "sqlite-drain-50",
        "SQLite: drain, async handlers, concurrency 50",
        "S50",
        (0.088, 0.18),
    ),
    rate_row(
        EnqueueScenario(mode="one", tasks=500, store=DISK),
        "sqlite-enqueue-disk",
        "SQLite on disk: enqueue, sync, one by one",
        "D1",
    ),
    latency_row(PickUpScenario(store=SQLITE), "sqlite-pickup-p99", "SQLite: idle pick-up p99", "p99", 20),
    latency_row(CancelScenario(store=SQLITE), "sqlite-cancel", "SQLite: cancellation, p50", "p50", 50),
    latency_row(WaitScenario(store=SQLITE), "sqlite-wait", "SQLite: wait for a result, p50", "p50", 50),
)
