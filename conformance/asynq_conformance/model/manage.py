"""RunTask, ArchiveTask, DeleteTask, MoveTasks, UpdateTask, CancelTask, DeleteQueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.errors import DuplicateTaskError, QueueNotEmptyError, TaskNotFoundError, TaskStateError
from asynq.protocol.followers import is_joining
from asynq.protocol.ops import MAX_BATCH, Deletion
from asynq.protocol.sequences import WAITING
from asynq.protocol.uniqueness import key_with_payload
from asynq.task_state import TaskState
from asynq_conformance.model import locks
from asynq_conformance.model.control import must_be_listed
from asynq_conformance.model.records import FINISHED, due_second, whole_second

if TYPE_CHECKING:
    from asynq.protocol.ops import (
        ArchiveTask,
        CancelTask,
        DeleteQueue,
        DeleteTask,
        MoveTasks,
        RunTask,
        UpdateTask,
    )
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System


def _task(system: System, queue: str, task_id: str, verb: str, *refused: TaskState) -> ModelTask:
    """The task if it is in none of these states and no aggregation set holds it; otherwise TaskStateError."""
    task = system.find(queue, task_id)
    if task is None:
        raise TaskNotFoundError(queue, task_id)
    if task.state in refused or task.set_id:
        raise TaskStateError(queue, task_id, task.state, verb)
    return task


def _run(system: System, task: ModelTask, now: int) -> None:
    task.cancel, task.group = "", ""
    if task.message.sequence and task.state in FINISHED:
        system.join(task, now)
    else:
        system.put_pending(task, now)
    locks.renew(system, task, 0, now)


def _archive(system: System, task: ModelTask, now: int) -> None:
    task.cancel = ""
    system.put(task, TaskState.ARCHIVED, whole_second(now))
    system.advance(task.message, now)


def run_task(system: System, op: RunTask, now: int) -> None:
    """Append the task to the pending ones, or to its sequence. A task that waits in it cannot be run."""
    task = _task(system, op.queue, op.task_id, "run", TaskState.ACTIVE, TaskState.PENDING)
    if task.waits or task.parked:
        raise TaskStateError(op.queue, op.task_id, task.state, "run")
    _run(system, task, now)


def archive_task(system: System, op: ArchiveTask, now: int) -> None:
    """Archive the task, and trim the archive."""
    refused = (TaskState.ACTIVE, TaskState.ARCHIVED)
    _archive(system, _task(system, op.queue, op.task_id, "archive", *refused), now)
    system.trim(op.queue, op.max_size, op.max_age, MAX_BATCH, now)


def delete_task(system: System, op: DeleteTask, now: int) -> None:
    """Delete the task."""
    task = _task(system, op.queue, op.task_id, "delete", TaskState.ACTIVE)
    system.delete(task)
    system.advance(task.message, now)


def move_tasks(system: System, op: MoveTasks, now: int) -> int:
    """Move the first tasks of a state."""
    must_be_listed(system, op.queue)
    if op.state is TaskState.AGGREGATING:
        tasks = system.waiting(op.queue, op.group)[: op.limit]
    else:
        tasks = [
            task
            for task in system.of_state(op.queue, op.state)
            if not ((task.due == WAITING or task.parked) and op.to == "pending")
        ]
        tasks = tasks[: op.limit]
    for task in tasks:
        if op.to == "deleted":
            system.delete(task)
            system.advance(task.message, now)
        elif op.to == "archived":
            _archive(system, task, now)
        else:
            _run(system, task, now)
    if op.to == "archived" and tasks:
        system.trim(op.queue, op.max_size, op.max_age, len(tasks) + MAX_BATCH, now)
    return len(tasks)


def update_task(system: System, op: UpdateTask, now: int) -> None:
    """Change the payload of the waiting task with its lock, and when it is due."""
    timed = op.process_at is not None or op.process_in is not None
    allowed = {TaskState.SCHEDULED, TaskState.RETRY}
    if not timed:
        allowed |= {TaskState.PENDING, TaskState.ARCHIVED, TaskState.AGGREGATING}
    task = _task(system, op.queue, op.task_id, "update", *(set(TaskState) - allowed))
    joins = task.state is TaskState.SCHEDULED and task.due == WAITING and is_joining(task.message)
    if task.parked or (timed and (task.waits or joins)):
        raise TaskStateError(op.queue, op.task_id, task.state, "update")
    if op.payload is not None:
        _give_payload(system, task, op.payload, now)
    if timed:
        at = now + (op.process_in or 0) if op.process_at is None else op.process_at
        _reschedule(system, task, due_second(max(at, now)), now)


def _reschedule(system: System, task: ModelTask, due: int, now: int) -> None:
    lock = system.locks.get(task.message.unique_key)
    if task.state is TaskState.RETRY:
        locks.renew(system, task, due - now, now)
    elif lock is not None and lock.owner == task.key:
        lock.end, lock.renewed = lock.end + due - task.due, lock.renewed + due - task.due
    task.due = due


def _give_payload(system: System, task: ModelTask, payload: bytes, now: int) -> None:
    old, new = task.message.unique_key, key_with_payload(task.message, payload)
    own = system.locks.get(old)
    if new != old and own is not None and own.owner == task.key:
        held = locks.is_held(system, old, now)
        # If it is undefined whether the lock is held, it is also undefined whether another task blocks it.
        other = locks.holder(system, new, now) if held or system.choices.held(new) else None
        if held is not False and other is not None:
            raise DuplicateTaskError(task.message.queue, task.message.type, other.owner[1])
        if held or (held is None and locks.is_held(system, new, now) is False):
            system.locks[new] = system.locks.pop(old)
    task.message = replace(task.message, payload=payload, unique_key=new)


def cancel_task(system: System, op: CancelTask, now: int) -> bool:
    """Mark the runs that are to be cancelled."""
    del now
    runs = [
        task
        for task in system.tasks.values()
        if task.state is TaskState.ACTIVE
        and task.message.id == op.task_id
        and op.queue in (None, task.message.queue)
    ]
    for task in runs:
        task.cancel = op.then
    return bool(runs)


def delete_queue(system: System, op: DeleteQueue, now: int) -> Deletion:
    """Delete some tasks while the queue delivers none. The last step deletes all other data, too."""
    del now
    must_be_listed(system, op.queue)
    tasks = system.of_queue(op.queue)
    refused = [task for task in tasks if task.state is TaskState.ACTIVE or not op.force]
    if refused:
        raise QueueNotEmptyError(op.queue, len(refused))
    doomed = sorted(tasks, key=system.choices.tie)[: op.limit]
    for task in doomed:
        system.delete(task)
    system.sets = {key: until for key, until in system.sets.items() if system.held(key)}
    if len(doomed) < len(tasks) or (len(doomed) == op.limit and not system.choices.finishes()):
        system.paused.add(op.queue)
        return Deletion(tasks=len(doomed), done=False)
    system.paused.discard(op.queue)
    del system.queues[op.queue]
    system.days = {key: runs for key, runs in system.days.items() if key[0] != op.queue}
    return Deletion(tasks=len(doomed), done=True)
