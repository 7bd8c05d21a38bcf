"""Groups: tasks that wait for one another, to be aggregated into one.

A task counts as added to its group at the instant it was, rounded up to a whole second. A set of tasks taken
for aggregation is held until it is finished or returned, or until its hold has ended and it is reclaimed:
from then on AggregationLostError, and nothing is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import matches_re

from asynq.protocol.ops.base import MAX_BATCH, Op
from asynq.protocol.ops.produce import Enqueued

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet, GroupInfo
    from asynq.protocol.ops.produce import Enqueue

MAX_SET_SIZE = 500
"""Most tasks one set holds, whatever the limit of its taker: deleting them is one step."""


@frozen(kw_only=True)
class Groups:
    """Answer of ListGroups: one page."""

    groups: tuple[GroupInfo, ...]
    cursor: str
    """Where to go on; "" when the end was reached."""


@frozen(kw_only=True)
class ListGroups(Op[Groups]):
    """Some groups of a queue that hold tasks, in no particular order, from `cursor` on; "" to begin.

    A group that holds tasks from the first page to the last is named on one of them, perhaps on two.
    """

    read_only: ClassVar[bool] = True
    queue: str
    cursor: str = ""


@frozen(kw_only=True)
class TakeGroup(Op["AggregationSet | None"]):
    """Take the oldest tasks of a group for aggregation if the group is ripe; None if it is not.

    Ripe is a group that holds `max_size` tasks, or whose oldest task was added `max_delay` ago, or whose
    newest was added `grace` ago; a max_size or max_delay of 0 is no such rule. At most `max_size` tasks are
    taken, and never more than MAX_SET_SIZE. Taken tasks are in no group and in no other set. A copy with the
    same
    `set_id` gets what its first copy took. An id whose task is gone is dropped; a task that cannot be decoded
    is archived with the reason; neither stops the others. Nobody reclaims the set before `hold` has passed.
    """

    queue: str
    group: str
    set_id: str = field(validator=matches_re(r"[^:]+"))
    """Random, one per call; without a colon."""
    grace: int
    max_delay: int = 0
    max_size: int = 0
    hold: int = 120_000


@frozen(kw_only=True)
class ExtendAggregation(Op[None]):
    """Hold the set until at least `hold` from now; never shorten it."""

    taken: AggregationSet
    hold: int


@frozen(kw_only=True)
class FinishAggregation(Op[Enqueued]):
    """Enqueue the aggregate and delete the tasks of the set with the locks they own: both or neither.

    The aggregate may have the id and the lock of a task of the set. TaskIDConflictError and
    DuplicateTaskError as Enqueue: then nothing is changed and the set stays held. A copy sent again after
    success answers success as long as the aggregate exists. Nothing is counted.
    """

    taken: AggregationSet
    enqueue: Enqueue
    """Into the queue of the set."""

    def __attrs_post_init__(self) -> None:
        if self.enqueue.message.queue != self.taken.queue:
            raise ValueError(f"enqueue must be into queue {self.taken.queue!r}, where the set is")


@frozen(kw_only=True)
class ReturnAggregation(Op[None]):
    """Put the tasks of the set back into their group, waiting since they were first added."""

    taken: AggregationSet


@frozen(kw_only=True)
class ReclaimAggregations(Op[int]):
    """Return the sets whose hold has ended, longest ended first, at most `limit` sets; how many.

    A set whose hold ended within this second may be returned or left for the next.

    Sets that a Go peer took are reclaimed by the same rule. A set that cannot be returned stops no other.
    """

    queue: str
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class Repaired:
    """Answer of RepairGroups."""

    listed: int
    """Groups that are listed now and were not."""
    cursor: str
    """Where to go on; "" when the end was reached."""


@frozen(kw_only=True)
class RepairGroups(Op[Repaired]):
    """List every group that holds tasks but is not listed, as Go peers leave them behind.

    Looks at a bounded part of the store, from `cursor` on; "" to begin.
    """

    queue: str
    cursor: str = ""
