"""RunTask, ArchiveTask, DeleteTask, MoveTasks, UpdateTask, CancelTask and DeleteQueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.brokerkit.transitions import due_second
from asynq.errors import (
    DuplicateTaskError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.protocol.followers import is_joining
from asynq.protocol.ops import MAX_BATCH, Deletion
from asynq.protocol.sequences import WAITING
from asynq.protocol.uniqueness import key_with_payload
from asynq.task_state import TaskState
from asynq_sqlite.operations.sequences import join, leave, waits
from asynq_sqlite.operations.transfer import parked_from
from asynq_sqlite.store.rows import UndecodableError, decode

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import (
        ArchiveTask,
        CancelTask,
        DeleteQueue,
        DeleteTask,
        MoveTasks,
        RunTask,
        UpdateTask,
    )
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore


def _movable(
    store: TaskStore, op: RunTask | ArchiveTask | DeleteTask, to: TaskState | None, verb: str
) -> TaskRow:
    """Return the task if it may be moved to this state from its present one."""
    task = store.find(op.queue, op.task_id)
    if task is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    if task.state in (TaskState.ACTIVE, to) or task.set_id is not None:
        raise TaskStateError(op.queue, op.task_id, TaskState(task.state), verb)
    return task


def _run(store: TaskStore, task: TaskRow, now: int) -> None:
    if (name := task.sequence) and task.state in (TaskState.ARCHIVED, TaskState.COMPLETED):
        store.move(task, store.due_place(TaskState.SCHEDULED, WAITING), cancel="")
        join(store, task.queue, name, task.id, now)
    else:
        store.move(task, store.tail(task.queue, now), group_name="", cancel="")


def _archive(store: TaskStore, task: TaskRow, now: int) -> None:
    store.move(task, store.archived_place(now), cancel="")
    leave(store, task, now)


def run_task(store: TaskStore, op: RunTask, now: int) -> None:
    """Make the task pending, behind all pending tasks of its queue."""
    task = _movable(store, op, TaskState.PENDING, "run")
    if waits(task) or parked_from(task):
        raise TaskStateError(op.queue, op.task_id, TaskState(task.state), "run")
    _run(store, task, now)


def archive_task(store: TaskStore, op: ArchiveTask, now: int) -> None:
    """Archive the task and trim the archive."""
    _archive(store, _movable(store, op, TaskState.ARCHIVED, "archive"), now)
    store.trim_archive(op.queue, op.max_size, op.max_age, MAX_BATCH, now)


def delete_task(store: TaskStore, op: DeleteTask, now: int) -> None:
    """Delete the task."""
    task = _movable(store, op, None, "delete")
    store.delete([task])
    leave(store, task, now)


def move_tasks(store: TaskStore, op: MoveTasks, now: int) -> int:
    """Move the first tasks of a state."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    if op.state is TaskState.AGGREGATING:
        tasks = [row.task for row in store.oldest_of_group(op.queue, op.group, op.limit)]
    elif op.state is TaskState.SCHEDULED and op.to == "pending":
        tasks = store.first_not_waiting(op.queue, op.limit)
    else:
        tasks = store.first_tasks(op.queue, op.state, op.limit)
    if op.to == "deleted":
        store.delete(tasks)
        for task in tasks:
            leave(store, task, now)
        return len(tasks)
    for task in tasks:
        if op.to == "archived":
            _archive(store, task, now)
        else:
            _run(store, task, now)
    if op.to == "archived":
        store.trim_archive(op.queue, op.max_size, op.max_age, len(tasks) + MAX_BATCH, now)
    return len(tasks)


def update_task(store: TaskStore, op: UpdateTask, now: int) -> None:
    """Change the payload of a waiting task with its lock, and when it is due."""
    row = store.read(op.queue, op.task_id)
    if row is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    try:
        message = decode(row)
    except UndecodableError:
        raise TaskNotFoundError(op.queue, op.task_id) from None
    task, state = row.task, TaskState(row.task.state)
    joins = state is TaskState.SCHEDULED and task.rank == WAITING and is_joining(message)
    refused = state not in op.states or task.set_id is not None or parked_from(task)
    if refused or (op.timed and (waits(task) or joins)):
        raise TaskStateError(op.queue, op.task_id, state, "update")
    if op.payload is not None:
        message = _give_payload(store, task, message, op.payload, now)
    due = now + op.process_in if op.process_in is not None else op.process_at
    if due is not None:
        store.reschedule(task, due_second(max(due, now)), message.unique_key)


def _give_payload(
    store: TaskStore, task: TaskRow, message: TaskMessage, payload: bytes, now: int
) -> TaskMessage:
    message = replace(message, payload=payload, unique_key=key_with_payload(message, payload))
    if message.unique_key != task.unique_key:
        own = store.lock_holder(task.unique_key, now)
        if own is not None and (own.queue, own.task_id) == (task.queue, task.id):
            other = store.lock_holder(message.unique_key, now)
            if other is not None:
                raise DuplicateTaskError(task.queue, message.type, other.task_id)
            store.rename_lock(task, message.unique_key)
    store.rewrite(task, message)
    return message


def cancel_task(store: TaskStore, op: CancelTask, now: int) -> bool:  # noqa: ARG001 - a handler's signature
    """Record the request in the active task."""
    return store.mark_cancelled(op.task_id, op.queue, op.then)


def delete_queue(store: TaskStore, op: DeleteQueue, now: int) -> Deletion:
    """Pause the queue and delete some of its tasks; with the last of them, delete everything else of it."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    # Counting all tasks in each step would take longer than deleting some.
    refused = store.active_count(op.queue) if op.force else sum(store.sizes(op.queue).values())
    if refused:
        raise QueueNotEmptyError(op.queue, refused)
    tasks = store.some_tasks(op.queue, op.limit)
    if tasks:
        store.pause(op.queue, now)
    store.delete(tasks)
    for task in tasks:
        if task.sequence:
            store.leave_sequence(task.queue, task.id)
    store.forget_empty_sets(op.queue)
    done = not store.some_tasks(op.queue, 1)
    if done:
        store.forget_queue(op.queue)
    return Deletion(tasks=len(tasks), done=done)
