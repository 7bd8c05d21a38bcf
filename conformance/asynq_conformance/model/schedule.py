"""EnqueueTick, GetLastTick, WriteSchedule, PauseSchedule, DeleteSchedule, ListSchedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol.ops import Ticked
from asynq_conformance.model.produce import enqueue
from asynq_conformance.model.records import DecidedTick

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
    from asynq_conformance.model.state import System


def enqueue_tick(system: System, op: EnqueueTick, now: int) -> Ticked:
    """Enqueue the task of a tick that is not decided yet. A refusal decides it as well."""
    queue, enqueue_id = op.enqueue.message.queue, op.enqueue.enqueue_id
    if op.tick > now:
        return Ticked(early=op.tick - now)
    last = _last(system, queue, op.entry_id, now)
    if last is not None:
        own = (last.tick, last.enqueue_id) == (op.tick, enqueue_id)
        if own and last.enqueued is not None:
            return Ticked(enqueued=last.enqueued)
        if not own and last.tick >= op.tick:
            return Ticked()
    mark = DecidedTick(op.tick, enqueue_id, None, now + op.keep)
    try:
        mark.enqueued = enqueue(system, op.enqueue, now)
    except (TaskIDConflictError, DuplicateTaskError):
        system.ticks[queue, op.entry_id] = mark
        raise
    system.ticks[queue, op.entry_id] = mark
    return Ticked(enqueued=mark.enqueued)


def get_last_tick(system: System, op: GetLastTick, now: int) -> int | None:
    """The latest decided tick."""
    last = _last(system, op.queue, op.entry_id, now)
    return last.tick if last else None


def _last(system: System, queue: str, entry_id: str, now: int) -> DecidedTick | None:
    mark = system.ticks.get((queue, entry_id))
    return mark if mark and mark.until > now else None


def write_schedule(system: System, op: WriteSchedule, now: int) -> None:
    """Keep the schedule, as paused as before. A change begins now."""
    before = system.schedules.get(op.schedule.name)
    if before is None:
        system.schedules[op.schedule.name] = replace(op.schedule, paused=False, since=now)
    elif before != (kept := replace(op.schedule, paused=before.paused, since=before.since)):
        system.schedules[op.schedule.name] = replace(kept, since=now)


def pause_schedule(system: System, op: PauseSchedule, now: int) -> bool:
    """Pause the schedule or end its pause, after which it begins now."""
    before = system.schedules.get(op.name)
    if before is None:
        return False
    since = now if before.paused and not op.paused else before.since
    system.schedules[op.name] = replace(before, paused=op.paused, since=since)
    return True


def delete_schedule(system: System, op: DeleteSchedule, now: int) -> bool:
    """Forget the schedule."""
    del now
    return system.schedules.pop(op.name, None) is not None


def list_schedules(system: System, op: ListSchedules, now: int) -> tuple[StoredSchedule, ...]:
    """The schedules by name."""
    del op, now
    return tuple(schedule for _, schedule in sorted(system.schedules.items()))
