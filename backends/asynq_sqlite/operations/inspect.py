"""GetHistory, GetMemory, Examine."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final

from asynq.errors import QueueNotFoundError
from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.history import DayStats
from asynq.protocol.ops import Examined
from asynq.task_state import TaskState
from asynq_sqlite.operations.upkeep import NOBODY
from asynq_sqlite.store.store import day

if TYPE_CHECKING:
    from asynq.protocol.ops import Examine, GetHistory, GetMemory
    from asynq_sqlite.store.rows import Task
    from asynq_sqlite.store.store import Store

_DAY: Final = 24 * 3600 * 1000
_SAMPLE: Final = 100
_PAGE: Final = 500
_GRACE: Final = 30_000
"""Milliseconds after which the lease given to an active task without one lapses."""
_LOCKS: Final = "locks:"


def get_history(store: Store, op: GetHistory, now: int) -> tuple[DayStats, ...]:
    """Counters of the days."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    days = [day(now - number * _DAY) for number in range(op.days)]
    counted = [(on, *store.counted(op.queue, on)) for on in days]
    return tuple(
        DayStats(queue=op.queue, date=date.fromisoformat(on), processed=processed, failed=failed)
        for on, processed, failed in counted
    )


def get_memory(store: Store, op: GetMemory, now: int) -> int:  # noqa: ARG001 - a handler's signature
    """The mean size of some tasks, times their number."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    return round(store.task_bytes(op.queue, _SAMPLE) * sum(store.sizes(op.queue).values()))


def examine(store: Store, op: Examine, now: int) -> Examined:
    """A row is in one state by nature: only a hand at the file does damage."""
    if op.queue is None:
        unlisted = store.unlisted_queues()
        if op.repair:
            for queue in unlisted:
                store.list_queue(queue)
        findings = [Finding(fault=Fault.UNLISTED_QUEUE, queue=queue) for queue in unlisted]
        return Examined(findings=tuple(findings), cursor="")
    if op.cursor.startswith(_LOCKS):
        return _doctor_locks(store, op, op.queue)
    tasks = store.tasks_after(op.queue, int(op.cursor or 0), _PAGE)
    found = [finding for task in tasks if (finding := _examine_task(store, task, op, now)) is not None]
    cursor = str(tasks[-1].seq) if len(tasks) == _PAGE else _LOCKS
    return Examined(findings=tuple(found), cursor=cursor)


def _examine_task(store: Store, task: Task, op: Examine, now: int) -> Finding | None:
    if task.state == TaskState.ACTIVE and task.lease_token is None:
        if op.repair:
            store.put_lease(task, NOBODY, now + _GRACE)
        return Finding(fault=Fault.MISSING_LEASE, queue=task.queue, name=task.id)
    taken = task.state == TaskState.AGGREGATING and task.set_id is not None
    if taken and store.held_until(task.queue, task.group_name, task.set_id or "") is None:
        if op.repair:
            store.leave_set(task)
        return Finding(fault=Fault.ORPHANED_TASK, queue=task.queue, name=task.id)
    return None


def _doctor_locks(store: Store, op: Examine, queue: str) -> Examined:
    names = store.stray_locks(queue, op.cursor.removeprefix(_LOCKS), _PAGE)
    if op.repair:
        for name in names:
            store.drop_lock(name)
    findings = tuple(Finding(fault=Fault.STRAY_LOCK, queue=queue, name=name) for name in names)
    return Examined(findings=findings, cursor=f"{_LOCKS}{names[-1]}" if len(names) == _PAGE else "")
