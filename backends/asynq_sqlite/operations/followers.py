"""TakeParents and FinishParent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.task_state import TaskState
from asynq_sqlite.store.rows import UndecodableError, stored

if TYPE_CHECKING:
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import FinishParent, TakeParents
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
