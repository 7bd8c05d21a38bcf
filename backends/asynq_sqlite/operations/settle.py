"""Done, Complete, Retry, Archive, Requeue: the ends of a run."""

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
    """The task to settle; None when a first copy of the settlement has put it where it belongs.

    Every other way out of a run, and every way on from `settled`, clears the token: it proves the copy.
    """
    task = store.find(delivery.message.queue, delivery.message.id)
    if task is not None and task.state == settled and task.lease_token == delivery.token:
        return None
    return owned(store, delivery.lease)


def done(store: TaskStore, op: Done, now: int) -> None:
    """Delete the task and count it."""
    task = owned(store, op.delivery.lease)
    store.delete(task)
    store.count(task.queue, now, failed=False)


def complete(store: TaskStore, op: Complete, now: int) -> None:
    """Keep the finished task for its retention."""
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
    """Let the task wait for its next run."""
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
    """Keep the failed task in the archive, whose oldest give way."""
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
    """Put the task back before all others."""
    task = _claim(store, op.delivery, TaskState.PENDING)
    if task is not None:
        store.move(task, store.head(task.queue, now), lease_token=op.delivery.token)
