"""GetHistory and GetMemory."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from asynq.errors import QueueNotFoundError
from asynq.protocol.history import DayStats
from asynq_sqlite.store.queues import day

if TYPE_CHECKING:
    from asynq.protocol.ops import GetHistory, GetMemory
    from asynq_sqlite.store.task_store import TaskStore

_DAY_MS: Final = 24 * 3600 * 1000
_SAMPLE_SIZE: Final = 100
"""Number of tasks whose size is measured."""


def get_history(store: TaskStore, op: GetHistory, now: int) -> tuple[DayStats, ...]:
    """Return the counters of the last days."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    days = [day(now - number * _DAY_MS) for number in range(op.days)]
    counted = [(on, *store.counted(op.queue, on)) for on in days]
    return tuple(
        DayStats(queue=op.queue, date=date.fromisoformat(on), processed=processed, failed=failed)
        for on, processed, failed in counted
    )


def get_memory(store: TaskStore, op: GetMemory, now: int) -> int:  # noqa: ARG001 - a handler's signature
    """Return the mean size of some tasks, multiplied by the number of tasks, in bytes."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    return round(store.task_bytes(op.queue, _SAMPLE_SIZE) * sum(store.sizes(op.queue).values()))
