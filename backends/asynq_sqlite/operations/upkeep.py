"""Forward, ListLostLeases, Recover, AdoptOrphans, PurgeCompleted and TrimArchive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.message import LostLease
from asynq.protocol.ops import (
    MAX_BATCH,
    Adopted,
    AdoptOrphans,
    Forward,
    Forwarded,
    ListLostLeases,
    LostLeases,
    PurgeCompleted,
    Recover,
    TrimArchive,
)
from asynq.task_state import TaskState
from asynq_sqlite.operations.failures import failure_columns
from asynq_sqlite.operations.sequences import leave
from asynq_sqlite.store.rows import UndecodableError, decode

if TYPE_CHECKING:
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import Place, TaskStore

ADOPTED_TOKEN = "adopted"
"""Token of the lease given to an orphan. No run has it: the tokens of runs are longer."""


def forward(store: TaskStore, op: Forward, now: int) -> Forwarded:
    """Move due tasks to their queue or group."""
    moved = 0
    for task in store.due(op.queue, now, op.limit):
        grouped = bool(task.group_name)
        store.move(task, store.grouped_place(now) if grouped else store.tail(op.queue, now))
        moved += 1
    return Forwarded(moved=moved, next_due=store.next_due(op.queue))


def list_lost_leases(store: TaskStore, op: ListLostLeases, now: int) -> LostLeases:
    """Return the expired leases, and archive tasks that cannot be decoded."""
    leases, set_aside = [], []
    for row in store.lost(op.queue, now, op.limit):
        try:
            message = decode(row)
        except UndecodableError as error:
            set_aside.append(store.set_aside(row, str(error), now))
            continue
        task = row.task
        leases.append(LostLease(message=message, observed=_observed(task), lease_losses=task.lease_losses))
    return LostLeases(leases=tuple(leases), set_aside=tuple(set_aside))


def _observed(task: TaskRow) -> str:
    return f"{task.rank} {task.lease_token}"


def recover(store: TaskStore, op: Recover, now: int) -> bool:
    """Take the task from its lost worker, if its lease has not changed since."""
    message = op.lost.message
    task = store.find(message.queue, message.id)
    if task is None or task.state != TaskState.ACTIVE or _observed(task) != op.lost.observed:
        return False
    store.move(
        task,
        _after_loss(store, op, now),
        **failure_columns(store, op, now),
        lease_losses=task.lease_losses + 1,
        cancel="" if op.to == "archived" else task.cancel,
    )
    store.count(task.queue, now, runs=1, failed=1)
    if op.to == "archived":
        leave(store, task, now)
        store.trim_archive(task.queue, op.max_size, op.max_age, MAX_BATCH, now)
    return True


def _after_loss(store: TaskStore, op: Recover, now: int) -> Place:
    if op.to == "pending":
        return store.head(op.lost.message.queue, now)
    if op.to == "retry":
        return store.due_place(TaskState.RETRY, now + op.delay)
    return store.archived_place(now)


def adopt_orphans(store: TaskStore, op: AdoptOrphans, now: int) -> Adopted:
    """Give leases to active tasks without one. Only manual changes of the file cause these."""
    looked = store.active_after(op.queue, op.cursor, op.limit)
    orphans = [task for task in looked if task.lease_token is None]
    if orphans:
        store.put_leases(orphans, ADOPTED_TOKEN, now + op.grace)
    cursor = looked[-1].seq if len(looked) == op.limit else 0
    return Adopted(adopted=len(orphans), dropped=0, cursor=cursor)


def purge_completed(store: TaskStore, op: PurgeCompleted, now: int) -> int:
    """Delete completed tasks whose retention has ended, and expired locks."""
    store.drop_expired_locks(op.queue, now, op.limit)
    ended = store.first_tasks(op.queue, TaskState.COMPLETED, op.limit, upto=now)
    store.delete(ended)
    return len(ended)


def trim_archive(store: TaskStore, op: TrimArchive, now: int) -> int:
    """Delete archived tasks that are too many or too old."""
    return store.trim_archive(op.queue, op.max_size, op.max_age, op.limit, now)
