"""EnqueueTick and GetLastTick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol.ops import Enqueued, Ticked
from asynq.task_state import TaskState
from asynq_sqlite.operations.produce import enqueue
from asynq_sqlite.store.presence import TickMark

if TYPE_CHECKING:
    from asynq.protocol.ops import EnqueueTick, GetLastTick
    from asynq_sqlite.store.task_store import TaskStore


def enqueue_tick(
    store: TaskStore, op: EnqueueTick, now: int
) -> Ticked | TaskIDConflictError | DuplicateTaskError:
    """Enqueue the task of a tick, unless the tick was decided before.

    A refusal is returned. If it were raised, the record of the tick would be undone.
    """
    queue, enqueue_id = op.enqueue.message.queue, op.enqueue.enqueue_id
    if op.tick > now:
        return Ticked(early=op.tick - now)
    last = store.last_tick(queue, op.entry_id, now)
    if last is not None:
        own = (last.tick, last.enqueue_id) == (op.tick, enqueue_id)
        if own and last.state:
            return Ticked(enqueued=Enqueued(state=TaskState(last.state), due_at=last.due_at))
        if not own and last.tick >= op.tick:
            return Ticked()
    answer: Ticked | TaskIDConflictError | DuplicateTaskError
    try:
        enqueued = enqueue(store, op.enqueue, now)
    except (TaskIDConflictError, DuplicateTaskError) as refused:
        answer, mark = refused, TickMark(op.tick, enqueue_id, "", 0)
    else:
        answer = Ticked(enqueued=enqueued)
        mark = TickMark(op.tick, enqueue_id, enqueued.state.value, enqueued.due_at)
    store.mark_tick(queue, op.entry_id, mark, now + op.keep, now)
    return answer


def get_last_tick(store: TaskStore, op: GetLastTick, now: int) -> int | None:
    """Return the latest tick that was decided."""
    last = store.last_tick(op.queue, op.entry_id, now)
    return last.tick if last else None
