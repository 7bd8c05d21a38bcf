"""Calls that a client may have sent more than once, and what that leaves unknown of their outcome.

A client sends a request again when its reply does not come: after a timeout, or when its connection breaks.
Each copy takes effect at its own time. The contract lets most copies find what the first one did, with two
exceptions: an enqueue whose first copy made a task that has since run to its end, and left nothing behind,
makes the task again; and a copy may be refused because of what followed the first one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Self

from attrs import field, frozen

from asynq.errors import AsynqError, DuplicateTaskError, LeaseLostError, TaskIDConflictError
from asynq.protocol import ops
from asynq_conformance.histories.record import EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asynq_conformance.histories.record import HistoryEvent

DISTURBANCE: Final = "disturbance"
"""Name of the notes about the disturbance of a run: phases "begin", "end" and "healed"."""
KILL: Final = "kill"
"""Name of the notes about processes that were killed."""
RESENDS: Final = "resends"
"""Name of the note that holds how soon a client of the store sends a request again: `after`, in seconds."""
DEFAULT_RESEND_AFTER: Final = 1.0
"""Seconds, for records without that note and for harnesses that do not say."""

SETTLEMENT_TYPES: Final = (ops.Done, ops.Complete, ops.Retry, ops.Archive, ops.Requeue)
BY_HAND: Final = (ops.DeleteTask, ops.RunTask, ops.ArchiveTask, ops.UpdateTask)
"""Operations on one task that need no lease."""
WHOLESALE: Final = (ops.MoveTasks, ops.DeleteQueue, ops.TakeGroup, ops.FinishAggregation, ops.TrimArchive)
"""Operations on many tasks of a queue, whose ids they do not name."""
_REFUSALS: Final = (
    (SETTLEMENT_TYPES, LeaseLostError),
    (ops.Enqueue, (TaskIDConflictError, DuplicateTaskError)),
    ((*BY_HAND, *WHOLESALE), AsynqError),
)
"""What a copy is answered when the first one took effect and other calls followed.

"The lease is lost" is all that can be said of a settlement once nothing of the task is left (see
`asynq.protocol.ops.settle`). An enqueue finds its id or its lock taken by a later task. A task that was moved
by hand is not where it was any more."""


@frozen
class Resends:
    """When the calls of a record may have been sent more than once."""

    begin: float
    """Nanoseconds of CLOCK_MONOTONIC at which connections began to break; inf: they never did."""
    end: float
    """The same for when the store was seen to work again."""
    after: float
    """Nanoseconds after which a client sends an unanswered request again."""
    killed: Mapping[str, int] = field(factory=dict)
    """By process: when it had been killed, and did nothing more."""

    @classmethod
    def of(cls, notes: Iterable[HistoryEvent]) -> Self:
        """What the notes of a record say."""
        phases = [(note.value["phase"], note.at) for note in notes if note.op == DISTURBANCE]
        begins = [at for phase, at in phases if phase == "begin"]
        ends = [at for phase, at in phases if phase in ("end", "healed")]
        told = [note.value["after"] for note in notes if note.op == RESENDS]
        return cls(
            begin=min(begins, default=math.inf),
            end=max(ends, default=math.inf if begins else -math.inf),
            after=min(told, default=DEFAULT_RESEND_AFTER) * 1e9,
            killed={note.value["process"]: note.at for note in notes if note.op == KILL},
        )

    def until(self, begun: HistoryEvent, ended: HistoryEvent | None) -> float | None:
        """Until when copies of the call may take effect; None if it was sent only once.

        A copy whose reply did not come in time may still lie in a connection that the client has given up:
        the store reads it once it works again. A connection that broke holds nothing back.
        """
        ended_at = self.killed.get(begun.process, math.inf) if ended is None else ended.at
        disturbed = begun.at <= self.end and ended_at >= self.begin
        timed_out = ended_at - begun.at >= self.after
        if timed_out:
            return max(ended_at, self.end if disturbed else ended_at) + self.after
        return ended_at if disturbed else None

    @staticmethod
    def refused(begun: HistoryEvent, ended: HistoryEvent) -> bool:
        """True if a copy is refused like this because of what an earlier copy did."""
        return ended.kind is EventKind.FAIL and any(
            isinstance(begun.value, kinds) and isinstance(ended.value, errors) for kinds, errors in _REFUSALS
        )
