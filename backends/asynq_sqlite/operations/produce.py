"""Enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.brokerkit.transitions import scheduled_for
from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol.followers import is_joining
from asynq.protocol.ops import Enqueue, Enqueued
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_sqlite.operations.sequences import join, waits
from asynq_sqlite.store.followers import kept_beyond

if TYPE_CHECKING:
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import HeldLock, Place, TaskStore


def enqueue(store: TaskStore, op: Enqueue, now: int) -> Enqueued:
    """Store a new task. A refusal comes before anything is written."""
    message = op.message
    due = WAITING if is_joining(message) else scheduled_for(op, now)
    place = _place(store, op, due, now)
    holder = None if op.unique is None else store.lock_holder(message.unique_key, now)
    if holder is not None or not store.insert(op, place, due, now):
        present = store.find(message.queue, message.id)
        if present is not None and (first := first_answer(store, present, op.enqueue_id)) is not None:
            return first
        _refuse(op, present, holder, now)
        leaving = [present, store.displaced(holder)]
        store.delete([task for task in leaving if task is not None])
        store.insert(op, place, due, now)
    store.list_queue(message.queue)
    if op.unique is not None:
        store.take_lock(message, op.unique, (due or now) + op.unique.ttl)
    if message.headers and message.sequence:
        join(store, message.queue, message.sequence, message.id, now)
        task = store.find(message.queue, message.id)
        if task is not None and waits(task):
            return Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        return Enqueued(state=TaskState.PENDING, due_at=now)
    return Enqueued(state=place.state, due_at=due or now)


def first_answer(store: TaskStore, task: TaskRow, enqueue_id: str) -> Enqueued | None:
    """Return the answer that the enqueue of this task was given; None if its id is another one."""
    origin = store.origin(task)
    if origin.enqueue_id != enqueue_id:
        return None
    if waits(task):
        return Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
    if origin.scheduled_for:
        return Enqueued(state=TaskState.SCHEDULED, due_at=origin.scheduled_for)
    state = TaskState.AGGREGATING if task.group_name else TaskState.PENDING
    return Enqueued(state=state, due_at=origin.created_at)


def _refuse(op: Enqueue, present: TaskRow | None, holder: HeldLock | None, now: int) -> None:
    """Raise unless the task with this id is to be replaced, and the holder of the lock allows it.

    Raises:
        TaskIDConflictError: The task that has this id is kept.
        DuplicateTaskError: Another task holds the lock.

    """
    message = op.message
    if present is not None and not (op.on_conflict == "replace_finished" and _replaceable(present, now)):
        raise TaskIDConflictError(message.queue, message.id, TaskState(present.state))
    if holder is None:
        return
    # The replaced task releases its own lock, unless only expiry releases it.
    own = present is not None and (holder.queue, holder.task_id) == (present.queue, present.id)
    released = own and holder.until != "expiry"
    if not released and not (op.unique is not None and op.unique.replaces(holder.until)):
        raise DuplicateTaskError(message.queue, message.type, holder.task_id)


def _replaceable(present: TaskRow, now: int) -> bool:
    """Return whether a task is finished, and its followers are enqueued."""
    if present.state == TaskState.COMPLETED:
        return present.rank <= kept_beyond(now)
    return present.state == TaskState.ARCHIVED


def _place(store: TaskStore, op: Enqueue, due: int, now: int) -> Place:
    if op.message.headers and op.message.sequence:
        return store.due_place(TaskState.SCHEDULED, WAITING)
    if due:
        return store.due_place(TaskState.SCHEDULED, due)
    if op.message.group:
        return store.grouped_place(now)
    return store.tail(op.message.queue, now)
