"""When a task was surely pending: what order and priority are judged by."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.losses import recovered_from_lost_run
from asynq_conformance.histories.history import NEVER_ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asynq_conformance.histories.history import Call, Handing, History, Key


@frozen(eq=False)
class Stay:
    """A time during which a task was surely pending: the open interval from `since` to `until`."""

    key: Key
    entry: Call
    """What made it pending."""
    since: float
    until: float
    handing: Call | None
    """What handed it out afterwards; None: nothing did."""


def stays(history: History) -> Iterator[Stay]:
    """All certain stays. Of a task that was moved by hand nothing is certain."""
    for key, entry in _entries(history):
        if history.meddled(key):
            continue
        handing = _next_handing(history, key, entry)
        until = handing.call.invoked if handing else NEVER_ENDED
        if until > entry.responded and not _taken_unseen(history, key, entry, handing):
            yield Stay(key, entry, entry.responded, until, handing.call if handing else None)


def _entries(history: History) -> Iterator[tuple[Key, Call]]:
    for key, calls in history.enqueues.items():
        for call in calls:
            if call.ok and call.answer.state == TaskState.PENDING:
                yield key, call
    for key, calls in history.settlements.items():
        for call in calls:
            if call.ok and isinstance(call.op, ops.Requeue):
                yield key, call
    for key, calls in history.recoveries.items():
        for call in calls:
            pending = call.ok and call.answer and call.op.to == "pending"
            if pending and not recovered_from_lost_run(history, call):
                yield key, call


def _next_handing(history: History, key: Key, entry: Call) -> Handing | None:
    """The first handing that may have come after the entry."""
    later = (handing for handing in history.handings.get(key, ()) if handing.call.responded >= entry.invoked)
    return min(later, key=lambda handing: handing.call.invoked, default=None)


def _taken_unseen(history: History, key: Key, entry: Call, handing: Handing | None) -> bool:
    """True if a call nobody knows the answer of may have taken the task in between.

    Then it came back by being recovered, and so it did not where nobody recovered it.
    """
    if not history.unseen_takes:
        return False
    end = handing.call.responded if handing else NEVER_ENDED
    return handing is None or any(
        call.responded >= entry.invoked and call.invoked <= end
        for call in history.recoveries.get(key, ())
        if call is not entry
    )


class Covers:
    """Finds among intervals one that covers another."""

    def __init__(self, intervals: Sequence[tuple[float, float, Any]]) -> None:
        """Triples of a beginning, an end, and what is there meanwhile."""
        self._intervals = sorted(intervals, key=lambda interval: interval[0])
        self._starts = [since for since, _, _ in self._intervals]
        # For each place: which of the intervals up to there ends last.
        self._longest = list(accumulate(range(len(self._intervals)), self._later_end))

    def _later_end(self, one: int, other: int) -> int:
        return max(one, other, key=lambda place: self._intervals[place][1])

    def find(self, begin: float, end: float) -> Any | None:
        """What is there from before `begin` until after `end`; None when nothing surely is."""
        place = bisect_left(self._starts, begin)
        if not place:
            return None
        _, until, there = self._intervals[self._longest[place - 1]]
        return there if until > end else None


def maybe_paused(history: History) -> Mapping[str, list[tuple[float, float]]]:
    """By queue: the times at which it may have been paused."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for call in history.asking(ops.PauseQueue, ops.DeleteQueue):
        if call.possible:
            found[call.op.queue].append((call.invoked, _unpaused_after(history, call)))
    return found


def _unpaused_after(history: History, pause: Call) -> float:
    """When the queue was surely unpaused again, for all that this pause did."""
    undone = (
        call.responded
        for call in history.asking(ops.UnpauseQueue)
        if call.ok and call.op.queue == pause.op.queue and pause.effects_end < call.invoked
    )
    return min(undone, default=NEVER_ENDED)


def surely_paused(history: History) -> Iterator[tuple[str, float, float, Call]]:
    """Times at which a queue was surely paused, with the call that paused it."""
    for call in history.asking(ops.PauseQueue):
        if call.ok:
            undone = (
                other.invoked
                for other in history.asking(ops.UnpauseQueue, ops.DeleteQueue)
                if other.possible and other.op.queue == call.op.queue and other.effects_end >= call.invoked
            )
            yield call.op.queue, call.responded, min(undone, default=NEVER_ENDED), call
