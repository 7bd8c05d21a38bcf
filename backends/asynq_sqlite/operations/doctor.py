"""Examine: find and repair damage in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.protocol.doctor import Fault, Finding
from asynq.protocol.ops import Examined
from asynq.task_state import TaskState
from asynq_sqlite.operations.sequences import join
from asynq_sqlite.operations.upkeep import ADOPTED_TOKEN

if TYPE_CHECKING:
    from asynq.protocol.ops import Examine
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore

_PAGE_SIZE: Final = 500
"""Number of tasks, or of locks, on a page."""
_LEASE_GRACE: Final = 30_000
"""Milliseconds until the lease expires that a repair gives to an active task without one."""
_LOCKS_CURSOR: Final = "locks:"
"""Prefix of the cursor once all tasks have been examined; the name of the last lock follows."""


def examine(store: TaskStore, op: Examine, now: int) -> Examined:
    """Return the damage found on one page. A row has one state, so only manual changes cause damage."""
    if op.queue is None:
        unlisted = store.unlisted_queues()
        if op.repair:
            for queue in unlisted:
                store.list_queue(queue)
        findings = [Finding(fault=Fault.UNLISTED_QUEUE, queue=queue) for queue in unlisted]
        return Examined(findings=tuple(findings), cursor="")
    if op.cursor.startswith(_LOCKS_CURSOR):
        return _examine_locks(store, op, op.queue)
    tasks = store.tasks_after(op.queue, int(op.cursor or 0), _PAGE_SIZE)
    found = [finding for task in tasks if (finding := _examine_task(store, task, op, now)) is not None]
    cursor = str(tasks[-1].seq) if len(tasks) == _PAGE_SIZE else _LOCKS_CURSOR
    return Examined(findings=tuple(found), cursor=cursor)


def _examine_task(store: TaskStore, task: TaskRow, op: Examine, now: int) -> Finding | None:
    if task.state == TaskState.ACTIVE and task.lease_token is None:
        if op.repair:
            store.put_leases([task], ADOPTED_TOKEN, now + _LEASE_GRACE)
        return Finding(fault=Fault.MISSING_LEASE, queue=task.queue, name=task.id)
    unfinished = task.state not in (TaskState.ARCHIVED, TaskState.COMPLETED)
    if unfinished and task.sequence and not store.has_place(task.queue, task.id):
        if op.repair:
            join(store, task.queue, task.sequence, task.id, now)
        return Finding(fault=Fault.MISSING_PLACE, queue=task.queue, name=task.id)
    taken = task.state == TaskState.AGGREGATING and task.set_id is not None
    if taken and store.held_until(task.queue, task.group_name, task.set_id or "") is None:
        if op.repair:
            store.leave_set(task)
        return Finding(fault=Fault.ORPHANED_TASK, queue=task.queue, name=task.id)
    return None


def _examine_locks(store: TaskStore, op: Examine, queue: str) -> Examined:
    names = store.stray_locks(queue, op.cursor.removeprefix(_LOCKS_CURSOR), _PAGE_SIZE)
    if op.repair:
        for name in names:
            store.drop_lock(name)
    findings = tuple(Finding(fault=Fault.STRAY_LOCK, queue=queue, name=name) for name in names)
    return Examined(
        findings=findings, cursor=f"{_LOCKS_CURSOR}{names[-1]}" if len(names) == _PAGE_SIZE else ""
    )
