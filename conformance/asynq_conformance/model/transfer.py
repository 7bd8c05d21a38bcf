"""ClaimTransfer, ExportTask, ImportTask, ReleaseTask, ListParked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import (
    DuplicateTaskError,
    LeaseLostError,
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.protocol.followers import HELD
from asynq.protocol.ops import Enqueued, Unique
from asynq.protocol.sequences import WAITING
from asynq.protocol.transfer import PARKED, LockImage, TaskImage
from asynq.task_state import TaskState
from asynq_conformance.model import locks
from asynq_conformance.model.records import FINISHED, ModelLock, ModelTask, whole_second

if TYPE_CHECKING:
    from asynq.protocol.ops import ClaimTransfer, ExportTask, ImportTask, ListParked, ReleaseTask
    from asynq_conformance.model.state import System


def claim_transfer(system: System, op: ClaimTransfer, now: int) -> str:
    """Give the queue to one transfer."""
    holder, until = system.claims.get(op.queue, ("", 0))
    if holder != op.holder:
        if op.renew or op.hold == 0 or until > now:
            return ""
    elif op.hold == 0:
        del system.claims[op.queue]
        return system.identity
    system.claims[op.queue] = (op.holder, now + op.hold)
    return system.identity


def _check_claim(system: System, queue: str, task_id: str, claim: str) -> None:
    if claim and system.claims.get(queue, ("", 0))[0] != claim:
        raise LeaseLostError(queue, task_id)


def export_task(system: System, op: ExportTask, now: int) -> TaskImage:
    """Describe the task completely, and park it if asked to."""
    _check_claim(system, op.queue, op.task_id, op.claim)
    task = system.find(op.queue, op.task_id)
    if task is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    if task.parked and task.transfer != op.transfer:
        raise TaskNotFoundError(op.queue, op.task_id)
    before = task.parked or (task.state, task.due, task.since)
    state, due, since = before
    if _is_held(system, task, state, due, now):
        raise TaskStateError(op.queue, op.task_id, state, "export")
    if op.park and task.parked is None:
        system.put(task, TaskState.SCHEDULED, PARKED)
        task.parked, task.transfer = before, op.transfer
    return TaskImage(
        message=task.message,
        state=state,
        due_at=due,
        pending_since=since,
        result=task.result,
        group=task.group,
        lock=_lock(system, task, now),
        lease_losses=task.losses,
        cancel=task.cancel,
        place=task.joined if task.unfinished else 0,
    )


def _is_held(system: System, task: ModelTask, state: TaskState, due: int, now: int) -> bool:
    if state is TaskState.ACTIVE or task.set_id:
        return True
    if state is TaskState.COMPLETED and due > now + HELD * 1000:
        return True
    others = [other for other in system.of_queue(task.message.queue) if other.state is TaskState.ACTIVE]
    name = task.message.sequence
    return bool(name) and task.unfinished and any(other.message.sequence == name for other in others)


def _lock(system: System, task: ModelTask, now: int) -> LockImage | None:
    lock = system.locks.get(task.message.unique_key)
    if lock is None or lock.owner != task.key or locks.is_held(system, task.message.unique_key, now) is False:
        return None
    left = max(lock.end - now, 1)
    return LockImage(
        expires_in=left, until=lock.unique.until, keep=lock.unique.ttl if lock.unique.keep else 0
    )


def import_task(system: System, op: ImportTask, now: int) -> bool:
    """Create the task of the image, parked."""
    image = op.image
    message = image.message
    _check_claim(system, message.queue, message.id, op.claim)
    present = system.find(message.queue, message.id)
    if present is not None:
        if present.enqueue_id == image.identity:
            return False
        raise TaskIDConflictError(message.queue, message.id, present.state)
    unique = None
    if image.lock is not None:
        held = image.lock
        unique = Unique(ttl=held.keep or held.expires_in, until=held.until, keep=held.keep > 0)
        lock = locks.holder(system, message.unique_key, now)
        if lock is not None and lock.owner != (message.queue, message.id):
            raise DuplicateTaskError(message.queue, message.type, lock.owner[1])
        end = now + held.expires_in
        system.locks[message.unique_key] = ModelLock((message.queue, message.id), unique, end, renewed=end)
    system.list_queue(message.queue)
    system.made += 1
    system.joined += 1
    task = ModelTask(
        message=message,
        made=system.made,
        enqueue_id=image.identity,
        answer=Enqueued(state=TaskState.SCHEDULED, due_at=PARKED),
        unique=unique,
        group=image.group,
        state=TaskState.SCHEDULED,
        due=PARKED,
        losses=image.lease_losses,
        cancel=image.cancel,
        result=image.result,
        joined=system.joined,
    )
    due = 0 if image.state is TaskState.PENDING else whole_second(image.due_at)
    task.parked, task.transfer = (image.state, due, image.pending_since), op.transfer
    system.tasks[task.key] = task
    return True


def release_task(system: System, op: ReleaseTask, now: int) -> bool:
    """Put the task back in its place, or delete it."""
    _check_claim(system, op.queue, op.task_id, op.claim)
    task = system.find(op.queue, op.task_id)
    if task is None or task.parked is None or task.transfer != op.transfer:
        return False
    if op.to == "deleted":
        system.delete(task)
        system.advance(task.message, now)
        return True
    state, due, since = task.parked
    called = False
    if task.message.sequence and state not in FINISHED:
        system.advance(task.message, now)
        if system.head(task.message) is not task:
            system.put(task, TaskState.SCHEDULED, WAITING)
            return True
        called = (state, due) == (TaskState.SCHEDULED, WAITING)
    if called or state is TaskState.PENDING:
        system.put_pending(task, now)
        task.since = task.since if called else since
    else:
        system.put(task, state, due)
    if state not in FINISHED and not (task.unique is not None and task.unique.until == "start"):
        locks.renew(system, task, max(due - now, 0), now)
    return True


def list_parked(system: System, op: ListParked, now: int) -> tuple[str, ...]:
    """Ids of parked tasks."""
    del now
    parked = [task.message.id for task in system.of_queue(op.queue) if task.parked]
    return tuple(parked[op.offset : op.offset + op.limit])
