"""Enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol.followers import is_joining
from asynq.protocol.ops import Enqueue, Enqueued
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.model import locks
from asynq_conformance.model.followers import is_kept_for_followers
from asynq_conformance.model.records import FINISHED, ModelTask, due_second, whole_second

if TYPE_CHECKING:
    from asynq_conformance.model.records import TaskKey
    from asynq_conformance.model.state import System


def enqueue(system: System, op: Enqueue, now: int, leaving: frozenset[TaskKey] = frozenset()) -> Enqueued:
    """Enqueue a task, or refuse it before any change.

    Tasks that are `leaving` are deleted in the same step, so their ids and locks are free.
    """
    message = op.message
    present = system.find(message.queue, message.id)
    if present is not None and present.enqueue_id == op.enqueue_id:
        return present.answer
    replaced = op.on_conflict == "replace_finished" and present is not None and present.state in FINISHED
    if replaced and present is not None and is_kept_for_followers(present, now):
        replaced = False
    if present is not None and not (replaced or present.key in leaving):
        raise TaskIDConflictError(message.queue, message.id, present.state)
    if op.unique is not None:
        lock = locks.holder(system, message.unique_key, now)
        # The replaced task gives up its lock, unless only time may release it.
        own = lock is not None and lock.owner in (leaving | {present.key} if present else leaving)
        displaces = op.unique.on_duplicate == "replace"
        if lock is not None and not ((own or displaces) and lock.unique.until != "expiry"):
            raise DuplicateTaskError(message.queue, message.type, lock.owner[1])
        rival = None if lock is None else system.tasks.get(lock.owner)
        if rival is not None and rival is not present and rival.gives_way:
            system.delete(rival)

    if present is not None:
        system.delete(present)
    return _create(system, op, now)


def _create(system: System, op: Enqueue, now: int) -> Enqueued:
    message = op.message
    system.list_queue(message.queue)
    system.made += 1
    at = _asked_for(op, now)
    if is_joining(message):
        answer = Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
    elif at > now:
        answer = Enqueued(state=TaskState.SCHEDULED, due_at=due_second(at))
    else:
        answer = Enqueued(state=TaskState.AGGREGATING if message.group else TaskState.PENDING, due_at=now)
    task = ModelTask(
        message=message,
        made=system.made,
        enqueue_id=op.enqueue_id,
        answer=answer,
        unique=op.unique,
        group=message.group,
        state=answer.state,
        due=whole_second(answer.due_at),
    )
    system.tasks[task.key] = task
    if task.state is TaskState.PENDING:
        task.due, task.since = 0, now
        system.pending.setdefault(message.queue, []).append(message.id)
    if op.unique is not None:
        locks.take(system, task, op.unique, answer.due_at)
    if message.sequence:
        system.join(task, now)
        if task.waits:
            task.answer = Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
    return task.answer


def _asked_for(op: Enqueue, now: int) -> int:
    if op.process_at is not None:
        return op.process_at
    return now + (op.process_in or 0)
