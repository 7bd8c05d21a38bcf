"""Schedule: ticks of periodic tasks, each enqueued once, however many schedulers there are.

A queue remembers the latest tick of each entry that was decided. Ticks are decided in ascending order: one
that is not later than the latest is decided already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.ops.produce import Enqueue, Enqueued


@frozen(kw_only=True)
class Ticked:
    """Answer of EnqueueTick."""

    enqueued: Enqueued | None = None
    """Where the task went; None when nothing was enqueued."""
    early: int = 0
    """Duration until the tick, which has not come yet; 0 when it was decided, by this call or before."""


@frozen(kw_only=True)
class EnqueueTick(Op[Ticked]):
    """Enqueue the task of one tick and remember the tick as decided, in one step.

    Nothing is enqueued, and nothing changed, when the tick was decided already or has not come yet.
    TaskIDConflictError and DuplicateTaskError as Enqueue: they decide the tick too. A copy that finds the
    tick its own `enqueue_id` decided gets the same answer, also when the task has run to its end since; where
    that answer was an error, it may get another try.
    """

    entry_id: str
    tick: int
    """Instant of the tick."""
    keep: int
    """Duration for which the tick is remembered as the entry's latest."""
    enqueue: Enqueue


@frozen(kw_only=True)
class GetLastTick(Op["int | None"]):
    """Instant of the latest tick of an entry that was decided; None when none is remembered."""

    read_only: ClassVar[bool] = True
    queue: str
    entry_id: str
