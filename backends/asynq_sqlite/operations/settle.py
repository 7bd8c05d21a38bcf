"""Done, Complete, Retry, Archive and Requeue: the settlement of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.protocol.ops import MAX_BATCH, Archive, Complete, Done, Requeue, Retry
from asynq.task_state import TaskState
from asynq_sqlite.operations.consume import owned
from asynq_sqlite.store import free_space

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore


def _claim(store: TaskStore, delivery: Delivery, settled: TaskState) -> TaskRow | None:
    """Return the task to settle; None if it was settled by the same settlement before.

    The token that a settlement leaves with the task proves this. Whatever else ends the run, or moves the
    task on from the state `settled`, clears the token.
    """
    task = store.find(delivery.message.queue, delivery.message.id)
    if task is not None and task.state == settled and task.lease_token == delivery.token:
        return None
    return owned(store, delivery.lease)


def done(store: TaskStore, op: Done, now: int) -> None:
    """Delete the task and count the run."""
    task = owned(store, op.delivery.lease)
    store.delete(task)
    store.count(task.queue, now, failed=False)


def complete(store: TaskStore, op: Complete, now: int) -> None:
    """Keep the completed task for its retention."""
    task = _claim(store, op.delivery, TaskState.COMPLETED)
    if task is None:
        return
    columns: dict[str, Any] = {"completed_at": now // 1000, "cancel": "", "lease_token": op.delivery.token}
    if op.result is not None:
        free_space.check_result(store, op.result)
        columns["result"] = op.result
    store.move(
        task, store.due_place(TaskState.COMPLETED, now + op.delivery.message.retention * 1000), **columns
    )
    store.release_lock(task)
    store.count(task.queue, now, failed=False)


def retry(store: TaskStore, op: Retry, now: int) -> None:
    """Schedule the next run of the task."""
    task = _claim(store, op.delivery, TaskState.RETRY)
    if task is None:
        return
    store.move(
        task,
        store.due_place(TaskState.RETRY, now + op.delay),
        error=free_space.fitted(store, op.error),
        last_failed_at=now // 1000,
        retried=op.delivery.message.retried + int(op.failure),
        cancel="archive" if task.cancel == "archive" else "",
        lease_token=op.delivery.token,
    )
    if op.failure:
        store.count(task.queue, now, failed=True)


def archive(store: TaskStore, op: Archive, now: int) -> None:
    """Archive the failed task and trim the archive."""
    task = _claim(store, op.delivery, TaskState.ARCHIVED)
    if task is None:
        return
    store.move(
        task,
        store.archived_place(now),
        error=free_space.fitted(store, op.error),
        last_failed_at=now // 1000,
        cancel="",
        lease_token=op.delivery.token,
    )
    store.count(task.queue, now, failed=True)
    store.trim_archive(task.queue, op.max_size, op.max_age, MAX_BATCH, now)


def requeue(store: TaskStore, op: Requeue, now: int) -> None:
    """Return the task to the head of its queue."""
    task = _claim(store, op.delivery, TaskState.PENDING)
    if task is not None:
        store.move(task, store.head(task.queue, now), lease_token=op.delivery.token)
