"""TakeParents, FinishParent and Arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.errors import TaskNotFoundError
from asynq.protocol.followers import RESULT_HEADER, members_of
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_sqlite.store.rows import UndecodableError, decode, stored

if TYPE_CHECKING:
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import Arrive, FinishParent, TakeParents
    from asynq_sqlite.store.task_store import TaskStore


def take_parents(store: TaskStore, op: TakeParents, now: int) -> tuple[StoredTask, ...]:
    """Hold completed parents that nobody holds, and return them."""
    parents = []
    for row in store.parents(op.queue, now, op.limit):
        rank = store.hold_parent(row.task, now + op.hold)
        try:
            parents.append(replace(stored(row, now), due_at=rank))
        except UndecodableError:
            continue  # nothing says that other tasks follow it
    return tuple(parents)


def finish_parent(store: TaskStore, op: FinishParent, now: int) -> bool:
    """Keep a held parent for its own retention, or delete it."""
    task = store.find(op.queue, op.task_id)
    if task is None or task.state != TaskState.COMPLETED or task.rank != op.held_until:
        return False
    if op.retention > 0:
        store.move(task, store.due_place(TaskState.COMPLETED, now + op.retention))
    else:
        store.delete([task])
    return True


def arrive(store: TaskStore, op: Arrive, now: int) -> int:
    """Pass the result of a member on to the task that waits for it, and let the task run after the last one.

    Raises:
        TaskNotFoundError: The task is gone, cannot be decoded, or waits for others.

    """
    row = store.read(op.queue, op.task_id)
    if row is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    task = row.task
    if task.state != TaskState.SCHEDULED or task.rank != WAITING:
        return 0
    try:
        message = decode(row)
    except UndecodableError:
        raise TaskNotFoundError(op.queue, op.task_id) from None
    if (op.member_queue, op.member_id) not in members_of(message):
        raise TaskNotFoundError(op.queue, op.task_id)
    headers = dict(message.headers)
    headers.setdefault(f"{RESULT_HEADER}{op.member}", op.result)
    store.write_headers(task, headers)
    missing = op.members - sum(f"{RESULT_HEADER}{member}" in headers for member in range(op.members))
    if missing <= 0:
        store.move(task, store.tail(op.queue, now))
    return max(missing, 0)
