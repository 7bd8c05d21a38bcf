"""Operations on groups: take tasks of a group as a set, aggregate the set into one task, or return it.

The instant at which a task was added to its group is rounded up to a whole second. A set of tasks taken for
aggregation is held until it is finished or returned, or until its hold has ended and it is reclaimed. From
then on operations on the set raise AggregationLostError, and nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

from asynq.protocol.ops.base import MAX_BATCH, Op
from asynq.protocol.ops.produce import Enqueued

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet, GroupInfo
    from asynq.protocol.ops.produce import Enqueue

MAX_SET_SIZE = 500
"""The most tasks in one set, whatever `max_size` the caller asks for, because one step deletes them all."""


class Groups(Struct, frozen=True, kw_only=True):
    """Answer of ListGroups: one page."""

    groups: tuple[GroupInfo, ...]
    cursor: str
    """Where the next call continues; "" when the end was reached."""


class ListGroups(Op[Groups], frozen=True, kw_only=True):
    """Some groups of a queue that hold tasks, in no particular order, from `cursor` on; "" to begin.

    A group that holds tasks from the first page to the last is listed at least once, possibly twice.
    """

    read_only: ClassVar[bool] = True
    queue: str
    cursor: str = ""


class TakeGroup(Op["AggregationSet | None"], frozen=True, kw_only=True):
    """Take the oldest tasks of a group for aggregation if the group is ready; None if it is not.

    A group is ready when it holds `max_size` tasks, when its oldest task was added at least `max_delay` ago,
    or when its newest task was added at least `grace` ago. A `max_size` or `max_delay` of 0 turns that rule
    off.

    At most `max_size` tasks are taken (0: no such limit), and never more than MAX_SET_SIZE. Tasks taken are
    in no group and in no other set. A copy with the same `set_id` gets what the first copy took. An id whose
    task is gone is dropped; a task that cannot be decoded is archived with the reason; neither keeps the
    other tasks from being taken. The set is not reclaimed before `hold` has passed.
    """

    queue: str
    group: str
    set_id: str
    """Random, one per call; must not contain a colon."""
    grace: int
    max_delay: int = 0
    max_size: int = 0
    hold: int = 120_000

    def __post_init__(self) -> None:
        if not self.set_id or ":" in self.set_id:
            raise ValueError(f"set_id must be a text without a colon; it is {self.set_id!r}")


class ExtendAggregation(Op[None], frozen=True, kw_only=True):
    """Extend the hold of the set to at least `hold` from now, never shorten it."""

    taken: AggregationSet
    hold: int


class FinishAggregation(Op[Enqueued], frozen=True, kw_only=True):
    """Enqueue the aggregate and delete the tasks of the set with the locks they own: both or neither.

    The aggregate may have the id and the lock of a task of the set. TaskIDConflictError and
    DuplicateTaskError as Enqueue: then nothing is changed and the set stays held. A copy that is sent again
    after success succeeds as long as the aggregate exists. No counter changes.
    """

    taken: AggregationSet
    enqueue: Enqueue
    """The aggregate, into the queue of the set."""

    def __post_init__(self) -> None:
        if self.enqueue.message.queue != self.taken.queue:
            raise ValueError(f"enqueue must be into queue {self.taken.queue!r}, where the set is")


class ReturnAggregation(Op[None], frozen=True, kw_only=True):
    """Put the tasks of the set back into their group; they have waited since they were first added."""

    taken: AggregationSet


class ReclaimAggregations(Op[int], frozen=True, kw_only=True):
    """Return the sets whose hold has ended, longest ended first, at most `limit`. Answers the number of sets.

    A set whose hold ended within the current second may be returned by this call or left for the next one.
    The same rule applies to sets that a Go peer took. A set that cannot be returned does not stop the others.
    """

    queue: str
    limit: int = MAX_BATCH


class Repaired(Struct, frozen=True, kw_only=True):
    """Answer of RepairGroups."""

    listed: int
    """Groups that this call listed and that were not listed before."""
    cursor: str
    """Where the next call continues; "" when the end was reached."""


class RepairGroups(Op[Repaired], frozen=True, kw_only=True):
    """List every group that holds tasks but is not listed, which Go peers can leave behind.

    Examines a bounded part of the store, from `cursor` on; "" to begin.
    """

    queue: str
    cursor: str = ""
