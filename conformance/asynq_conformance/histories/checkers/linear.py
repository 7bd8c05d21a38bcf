"""C12: what was done to a small queue can be put into one order that explains every answer."""

from __future__ import annotations

from collections import defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import frozen

from asynq_conformance.histories.checkers.queue_model import (
    UNKNOWN,
    QueueState,
    after,
    copies,
    modelled,
    queues_of,
    without_effect,
)
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import NEVER_ENDED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_conformance.histories.history import Call, History

WINDOW: Final = 40
"""Most calls of a queue that are looked at, from its beginning on."""
MOST_STATES: Final = 50_000
"""Most situations a search looks at before it gives up: less than a second."""


class Inexplicable(Violation):
    """C12."""

    says: ClassVar[str] = "gave answers that no order of these calls explains"


class _GivenUpError(Exception):
    """The search would take too long."""


@frozen(eq=False)
class Window:
    """The calls of a queue from its beginning until some instant."""

    calls: Sequence[Call]
    end: float

    def known(self, call: Call) -> bool:
        """True if the call was answered in time: it then took effect, or was refused, before the end."""
        return call.responded < self.end


def small_queues_are_linearizable(history: History) -> Verdict:
    """C12: the calls on one queue, from the first on and up to the first that is beyond the model, can be put
    into an order that keeps every call within its time and gives every answer, the queue being empty first.

    Calls whose end is not known may stand anywhere after their beginning, or nowhere; so may further copies
    of a call that was sent more than once, while they may take effect.
    """
    by_queue: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        for queue in queues_of(call.op):
            by_queue[queue].append(call)
    violations, judged, undecided = [], 0, 0
    for queue, calls in by_queue.items():
        window = opening(calls)
        if sum(map(window.known, window.calls)) < 2:
            continue
        judged += 1
        try:
            if not explained(window):
                violations.append(Inexplicable(queue=queue, calls=tuple(_shortest(window).calls)))
        except _GivenUpError:
            undecided += 1
    return Verdict(tuple(violations), judged, undecided=undecided)


def opening(calls: Sequence[Call]) -> Window:
    """The first calls of a queue, as many as the model knows."""
    relevant = [call for call in calls if not without_effect(call)]
    beyond = [call.invoked for call in relevant if not modelled(call)]
    beyond += [call.invoked for call in relevant[WINDOW:]]
    return _until(relevant, min(beyond, default=NEVER_ENDED))


def _until(calls: Sequence[Call], end: float) -> Window:
    return Window([call for call in calls if call.invoked < end], end)


def _shortest(window: Window) -> Window:
    """The shortest beginning of the window that cannot be explained."""
    for call in sorted(window.calls, key=lambda call: call.responded):
        if call.responded < window.end:
            shorter = _until(window.calls, call.responded + 1)
            if not explained(shorter):
                return shorter
    return window


def explained(window: Window) -> bool:
    """True if there is such an order. _GivenUpError when the search grows too big."""
    extra = list(copies(window.calls))
    calls = [*window.calls, *extra]
    limits = [*repeat(NEVER_ENDED, len(window.calls)), *(copy.resent_until or 0 for copy in extra)]
    certain = sum(1 << place for place, call in enumerate(calls) if window.known(call))
    seen: set[tuple[int, QueueState]] = set()
    todo = [(0, QueueState())]
    while todo:
        done, state = todo.pop()
        if done & certain == certain:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        if len(seen) > MOST_STATES:
            raise _GivenUpError
        # Nothing can come before a call that had been answered when it began.
        open_places = [place for place in range(len(calls)) if not done >> place & 1]
        bound = min(calls[place].responded for place in open_places if window.known(calls[place]))
        # No copy comes after a call that began when copies no longer took effect.
        latest = max((call.invoked for place, call in enumerate(calls) if done >> place & 1), default=0)
        for place in open_places:
            call = calls[place]
            if call.invoked <= bound and latest <= limits[place]:
                answer = call.answer if window.known(call) else UNKNOWN
                following = after(state, call, answer)
                if following is not None:
                    todo.append((done | 1 << place, following))
    return False
