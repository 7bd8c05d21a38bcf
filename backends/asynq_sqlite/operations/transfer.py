"""ClaimTransfer, ExportTask, ImportTask, ReleaseTask and ListParked.

A parked task has its former place in its column `lease_token`: "parked", state, rank, `pending_since`, and
the transfer that parked it. Claims, and the identity of the store, are slots of scopes of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.brokerkit.transitions import whole_second
from asynq.errors import (
    DuplicateTaskError,
    LeaseLostError,
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.ids import random_id
from asynq.protocol.followers import HELD
from asynq.protocol.ops import Enqueue, Unique
from asynq.protocol.sequences import WAITING
from asynq.protocol.transfer import PARKED, PARKED_MARK, LockImage, TaskImage
from asynq.task_state import TaskState
from asynq_sqlite.operations.sequences import advance, leave
from asynq_sqlite.store.rows import UndecodableError, stored
from asynq_sqlite.store.task_store import Place

if TYPE_CHECKING:
    from asynq.protocol.ops import ClaimTransfer, ExportTask, ImportTask, ListParked, ReleaseTask
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore

_FINISHED: Final = (TaskState.ARCHIVED, TaskState.COMPLETED)
_CLAIMS: Final = "asynq:py:transfer:"
"""Scope of the claim of a queue, whose name follows."""
_STORE: Final = "asynq:py:store"
"""Scope whose holder is the identity of the store."""
_FOR_GOOD: Final = 2**62


def claim_transfer(store: TaskStore, op: ClaimTransfer, now: int) -> str:
    """Take, extend or end the claim of a queue."""
    scope = _CLAIMS + op.queue
    held = store.holders(scope)
    if op.holder not in held and (op.renew or op.hold == 0 or any(until > now for until in held.values())):
        return ""
    for holder in held:
        store.free_slot(scope, holder)
    if op.hold > 0:
        store.hold_slot(scope, op.holder, now + op.hold)
    return _identity(store)


def _identity(store: TaskStore) -> str:
    for identity in store.holders(_STORE):
        return identity
    identity = random_id()
    store.hold_slot(_STORE, identity, _FOR_GOOD)
    return identity


def check_claim(store: TaskStore, queue: str, task_id: str, claim: str) -> None:
    """LeaseLostError if another transfer has taken the claim."""
    if claim and claim not in store.holders(_CLAIMS + queue):
        raise LeaseLostError(queue, task_id)


def parked_from(task: TaskRow) -> Place | None:
    """Return the place that a parked task had; None for any other task."""
    if task.state != TaskState.SCHEDULED or not (task.lease_token or "").startswith(PARKED_MARK):
        return None
    state, rank, since, *_ = (task.lease_token or "").removeprefix(PARKED_MARK).split()
    return Place(TaskState(state), int(rank), int(since))


def transfer_of(task: TaskRow) -> str:
    """Return the transfer that has parked the task."""
    return " ".join((task.lease_token or "").split()[4:])


def export_task(store: TaskStore, op: ExportTask, now: int) -> TaskImage:
    """Return the image of the task, and park it if asked to."""
    check_claim(store, op.queue, op.task_id, op.claim)
    row = store.read(op.queue, op.task_id)
    if row is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    try:
        found = stored(row, now)
    except UndecodableError:
        raise TaskNotFoundError(op.queue, op.task_id) from None
    task = row.task
    before = parked_from(task)
    if before is not None and transfer_of(task) != op.transfer:
        raise TaskNotFoundError(op.queue, op.task_id)
    place = before or Place(found.state, task.rank, row.pending_since)
    if _is_held(store, task, place, now):
        raise TaskStateError(op.queue, op.task_id, place.state, "export")
    if op.park and before is None:
        store.park(task, f"{PARKED_MARK}{place.state.value} {place.rank} {place.pending_since} {op.transfer}")
    return TaskImage(
        message=found.message,
        state=place.state,
        due_at=0 if place.state is TaskState.PENDING else place.rank,
        pending_since=place.pending_since,
        result=found.result,
        group=task.group_name,
        lock=_lock(store, task, now),
        lease_losses=task.lease_losses,
        cancel=task.cancel,
        place=store.place_in_sequence(task.queue, task.id),
    )


def _is_held(store: TaskStore, task: TaskRow, place: Place, now: int) -> bool:
    """Return whether somebody works on the task, or on the one whose turn it is in its sequence."""
    if place.state is TaskState.ACTIVE or task.set_id is not None:
        return True
    if place.state is TaskState.COMPLETED and place.rank > now + HELD * 1000:
        return True
    if not task.sequence or not store.place_in_sequence(task.queue, task.id):
        return False
    head = store.find(task.queue, store.first_of_sequence(task.queue, task.sequence) or "")
    return head is not None and head.state == TaskState.ACTIVE


def _lock(store: TaskStore, task: TaskRow, now: int) -> LockImage | None:
    lock = store.lock_of(task, now)
    if lock is None:
        return None
    expires_at, until, keep = lock
    left = max(expires_at - now, 1)
    return LockImage(expires_in=left, until=until, keep=left if keep else 0)


def import_task(store: TaskStore, op: ImportTask, now: int) -> bool:
    """Store the task of the image, parked."""
    image = op.image
    message, lock = image.message, image.lock
    check_claim(store, message.queue, message.id, op.claim)
    present = store.find(message.queue, message.id)
    if present is not None:
        if store.origin(present).enqueue_id == image.identity:
            return False
        raise TaskIDConflictError(message.queue, message.id, TaskState(present.state))
    if lock is not None:
        holder = store.lock_holder(message.unique_key, now)
        if holder is not None and (holder.queue, holder.task_id) != (message.queue, message.id):
            raise DuplicateTaskError(message.queue, message.type, holder.task_id)
    rank = 0 if image.state is TaskState.PENDING else whole_second(image.due_at)
    due = image.due_at if image.state is TaskState.SCHEDULED else 0
    enqueue = Enqueue(message=message, enqueue_id=image.identity)
    store.insert(enqueue, Place(TaskState.SCHEDULED, PARKED), due, now)
    store.list_queue(message.queue)
    mark = f"{PARKED_MARK}{image.state.value} {rank} {image.pending_since} {op.transfer}"
    store.complete_import(image, mark)
    if lock is not None:
        unique = Unique(ttl=lock.keep or lock.expires_in, until=lock.until, keep=lock.keep > 0)
        store.take_lock(message, unique, now + lock.expires_in)
    if message.headers and message.sequence and not image.finished:
        store.join_sequence(message.queue, message.sequence, message.id)
    return True


def release_task(store: TaskStore, op: ReleaseTask, now: int) -> bool:
    """Restore the parked task, or delete it."""
    check_claim(store, op.queue, op.task_id, op.claim)
    task = store.find(op.queue, op.task_id)
    place = None if task is None else parked_from(task)
    if task is None or place is None or transfer_of(task) != op.transfer:
        return False
    if op.to == "deleted":
        store.delete([task])
        leave(store, task, now)
    else:
        store.move(task, _place_of(store, task, place, now))
    return True


def _place_of(store: TaskStore, task: TaskRow, before: Place, now: int) -> Place:
    """Return the place of a task that is restored."""
    if task.sequence and before.state not in _FINISHED:
        advance(store, task.queue, task.sequence, now)
        if store.first_of_sequence(task.queue, task.sequence) != task.id:
            return Place(TaskState.SCHEDULED, WAITING)
        if before.state is TaskState.SCHEDULED and before.rank == WAITING:
            return store.tail(task.queue, now)
    if before.state is TaskState.PENDING:
        return store.tail(task.queue, now)._replace(pending_since=before.pending_since)
    return before


def list_parked(store: TaskStore, op: ListParked, now: int) -> tuple[str, ...]:  # noqa: ARG001 - a handler's signature
    """Return ids of parked tasks."""
    return store.parked(op.queue, op.offset, op.limit)
