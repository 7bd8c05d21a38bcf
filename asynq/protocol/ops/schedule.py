"""Operations for scheduling: enqueue each tick of a periodic task once, and keep schedules in the broker.

A queue remembers the latest decided tick of each entry. Ticks are decided in ascending order: a tick that is
not later than the latest one counts as decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.ops.produce import Enqueue, Enqueued
    from asynq.protocol.schedules import StoredSchedule


class Ticked(Struct, frozen=True, kw_only=True):
    """Answer of EnqueueTick."""

    enqueued: Enqueued | None = None
    """State of the task; None when nothing was enqueued."""
    early: int = 0
    """Duration until the tick when it is still in the future; 0 when the tick is decided, by this call or
    before."""


class EnqueueTick(Op[Ticked], frozen=True, kw_only=True):
    """Enqueue the task of one tick and record the tick as decided, in one step.

    Nothing is enqueued and nothing is changed when the tick was decided before or is still in the future.
    TaskIDConflictError and DuplicateTaskError as Enqueue: they decide the tick too. A copy that finds the
    tick decided by its own `enqueue_id` gets the same answer, even if the task has ended since; where that
    answer was an error, the copy may try again.
    """

    entry_id: str
    tick: int
    """Instant of the tick."""
    keep: int
    """Duration for which the tick is remembered as the entry's latest."""
    enqueue: Enqueue


class GetLastTick(Op["int | None"], frozen=True, kw_only=True):
    """Instant of the latest decided tick of an entry; None when none is remembered."""

    read_only: ClassVar[bool] = True
    queue: str
    entry_id: str


class WriteSchedule(Op[None], frozen=True, kw_only=True):
    """Keep a schedule; replaces the one of its name. It stays paused if it was; a new one is not paused.

    Its `since` becomes the present. If the schedule is equal to the one that is kept, nothing changes.
    """

    schedule: StoredSchedule


class PauseSchedule(Op[bool], frozen=True, kw_only=True):
    """Pause a schedule, or end its pause. False if there is no schedule of this name.

    The end of a pause makes its `since` the present.
    """

    name: str
    paused: bool


class DeleteSchedule(Op[bool], frozen=True, kw_only=True):
    """Delete a schedule with its pause. False if there is no schedule of this name."""

    name: str


class ListSchedules(Op["tuple[StoredSchedule, ...]"], frozen=True, kw_only=True):
    """All schedules, sorted by name. Those that cannot be decoded are left out."""

    read_only: ClassVar[bool] = True
