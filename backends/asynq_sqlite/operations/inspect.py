"""GetHistory, GetMemory and DescribeBroker."""

from __future__ import annotations

import sqlite3
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynq.errors import QueueNotFoundError
from asynq.protocol.broker_info import BrokerInfo, BrokerNode, QueuePlace
from asynq.protocol.history import DayStats
from asynq_sqlite.store.queues import day

if TYPE_CHECKING:
    from asynq.protocol.ops import DescribeBroker, GetHistory, GetMemory
    from asynq_sqlite.store.task_store import TaskStore

_DAY_MS: Final = 24 * 3600 * 1000
_SAMPLE_SIZE: Final = 100
"""Number of tasks whose size is measured."""
_SETTINGS: Final = ("journal_mode", "synchronous", "page_size", "page_count", "freelist_count", "auto_vacuum")
_SYNCHRONOUS: Final = {"0": "off", "1": "normal", "2": "full", "3": "extra"}


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


def describe_broker(store: TaskStore, op: DescribeBroker, now: int) -> BrokerInfo:  # noqa: ARG001 - see above
    """Describe the file, or the database in memory. What is deleted leaves free pages in the file."""
    path = next(file for _, name, file in store.fetch("PRAGMA database_list") if name == "main")
    details = {name: str(store.fetch(f"PRAGMA {name}")[0][0]) for name in _SETTINGS}
    details["synchronous"] = _SYNCHRONOUS.get(details["synchronous"], details["synchronous"])
    if path:
        details["wal_bytes"] = str(_size_of(f"{path}-wal"))
    node = BrokerNode(
        address=path,
        role="file" if path else "memory",
        version=sqlite3.sqlite_version,
        memory_used=store.used(),
        memory_limit=store.max_size,
        eviction="noeviction",
        persistence="file" if path else "none",
        details=details,
    )
    return BrokerInfo(
        backend="sqlite" if path else "memory",
        product="SQLite",
        version=sqlite3.sqlite_version,
        topology="embedded",
        nodes=(node,),
        places=tuple(QueuePlace(queue=name, node=path) for name in op.queues),
        warnings=() if path else ("all tasks are lost when this process ends",),
    )


def _size_of(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
