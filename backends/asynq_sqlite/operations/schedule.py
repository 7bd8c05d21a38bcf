"""EnqueueTick, GetLastTick, WriteSchedule, PauseSchedule, DeleteSchedule and ListSchedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol.ops import Enqueued, Ticked
from asynq.protocol.schedules import decode_schedule, encode_schedule
from asynq.task_state import TaskState
from asynq_sqlite.operations.produce import enqueue
from asynq_sqlite.store.presence import TickMark

if TYPE_CHECKING:
    from asynq.protocol.ops import (
        DeleteSchedule,
        EnqueueTick,
        GetLastTick,
        ListSchedules,
        PauseSchedule,
        WriteSchedule,
    )
    from asynq.protocol.schedules import StoredSchedule
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


def write_schedule(store: TaskStore, op: WriteSchedule, now: int) -> None:
    """Store a schedule. If it changes, it begins now."""
    store.keep_schedule(op.schedule.name, encode_schedule(op.schedule).decode(), now)


def pause_schedule(store: TaskStore, op: PauseSchedule, now: int) -> bool:
    """Record whether a schedule is paused. After the pause, it begins now."""
    return store.pause_schedule(op.name, now, paused=op.paused)


def delete_schedule(store: TaskStore, op: DeleteSchedule, now: int) -> bool:  # noqa: ARG001 - a handler's signature
    """Delete a schedule."""
    return store.delete_schedule(op.name)


def list_schedules(store: TaskStore, op: ListSchedules, now: int) -> tuple[StoredSchedule, ...]:  # noqa: ARG001 - a handler's signature
    """Return the schedules that can be decoded."""
    found = (
        decode_schedule(record, paused=paused, since=since) for record, paused, since in store.schedules()
    )
    return tuple(sorted(filter(None, found), key=lambda schedule: schedule.name))
