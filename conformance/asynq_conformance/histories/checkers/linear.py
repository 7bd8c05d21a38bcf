"""C12: what was done to a small queue can be put into one order that explains every answer."""

from __future__ import annotations

from collections import defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import evolve, field, frozen

from asynq_conformance.histories.checkers.queue_model import (
    UNKNOWN,
    QueueState,
    after,
    copies,
    lost_effects,
    modelled,
    queues_of,
    unconfirmed,
    without_effect,
)
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import NEVER_ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq_conformance.histories.history import Call, History, LossWindow

WINDOW: Final = 40
"""Most calls of a queue that are looked at, from its beginning on."""
MOST_STATES: Final = 50_000
"""Most situations a search looks at before it gives up: less than a second."""


class Inexplicable(Violation):
    """C12."""

    says: ClassVar[str] = "gave answers that no order of these calls explains"


class _GivenUpError(Exception):
    """The search would take too long."""


@frozen
class Situation:
    """Where a search has arrived."""

    state: QueueState = field(factory=QueueState)
    """What the queue holds."""
    lost: QueueState | None = None
    """What it holds on a server that is replaced by one without the last operations; None: nothing is."""

    @property
    def shown(self) -> QueueState:
        """What the server that is replaced shows."""
        return self.state if self.lost is None else self.lost


@frozen(eq=False)
class Window:
    """The calls of a queue from its beginning until some instant."""

    calls: Sequence[Call]
    end: float
    losses: Sequence[LossWindow] = ()

    def known(self, call: Call) -> bool:
        """True if the call was answered in time: it then took effect, or was refused, before the end."""
        return call.responded < self.end

    def kept(self, situation: Situation, call: Call) -> Iterator[Situation]:
        """After the call, if it was answered like this by the server that remains, or by the replaced one."""
        answer = call.answer if self.known(call) else UNKNOWN
        state = after(situation.state, call, answer)
        if state is not None:
            yield evolve(situation, state=state)
        if unconfirmed(call) and any(loss.meets_answer(call) for loss in self.losses):
            shown = after(situation.shown, call, answer)
            if shown is not None:
                yield evolve(situation, lost=shown)


def small_queues_are_linearizable(history: History) -> Verdict:
    """C12: the calls on one queue, from the first on and up to the first that is beyond the model, can be put
    into an order that keeps every call within its time and gives every answer, the queue being empty first.

    Calls whose end is not known may stand anywhere after their beginning, or nowhere; so may further copies
    of a call that was sent more than once, while they may take effect. In a loss window these may also be
    lost with the server that is replaced, after it has shown them: a read explained by it proves nothing. The
    leases that it granted last may be lost as well.
    """
    by_queue: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        for queue in queues_of(call.op):
            by_queue[queue].append(call)
    violations, judged, undecided = [], 0, 0
    for queue, calls in by_queue.items():
        window = opening(calls, history.windows)
        if sum(map(window.known, window.calls)) < 2:
            continue
        judged += 1
        try:
            if not explained(window):
                violations.append(Inexplicable(queue=queue, calls=tuple(_shortest(window).calls)))
        except _GivenUpError:
            undecided += 1
    return Verdict(tuple(violations), judged, undecided=undecided)


def opening(calls: Sequence[Call], losses: Sequence[LossWindow] = ()) -> Window:
    """The first calls of a queue, as many as the model knows."""
    relevant = [call for call in calls if not without_effect(call)]
    beyond = [call.invoked for call in relevant if not modelled(call)]
    beyond += [call.invoked for call in relevant[WINDOW:]]
    return _until(Window(relevant, NEVER_ENDED, losses), min(beyond, default=NEVER_ENDED))


def _until(window: Window, end: float) -> Window:
    return evolve(window, calls=[call for call in window.calls if call.invoked < end], end=end)


def _shortest(window: Window) -> Window:
    """The shortest beginning of the window that cannot be explained."""
    for call in sorted(window.calls, key=lambda call: call.responded):
        if call.responded < window.end:
            shorter = _until(window, call.responded + 1)
            if not explained(shorter):
                return shorter
    return window


def explained(window: Window) -> bool:
    """True if there is such an order. _GivenUpError when the search grows too big."""
    if _ordered(evolve(window, losses=()), ()):
        return True
    return bool(window.losses) and _ordered(window, list(lost_effects(window.calls, window.losses)))


def _ordered(window: Window, lost: Sequence[Call]) -> bool:
    """True if there is an order; only reads and dequeues in a loss window may show the lost effects."""
    kept = [*window.calls, *copies(window.calls)]
    calls = [*kept, *lost]
    extra = calls[len(window.calls) :]
    limits = [*repeat(NEVER_ENDED, len(window.calls)), *(copy.resent_until or 0 for copy in extra)]
    certain = sum(1 << place for place, call in enumerate(calls) if window.known(call))
    seen: set[tuple[int, Situation]] = set()
    todo = [(0, Situation())]
    while todo:
        done, situation = todo.pop()
        if done & certain == certain:
            return True
        if (done, situation) in seen:
            continue
        seen.add((done, situation))
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
                follows = window.kept if place < len(kept) else _lost
                todo += ((done | 1 << place, following) for following in follows(situation, call))
    return False


def _lost(situation: Situation, call: Call) -> Iterator[Situation]:
    """After the call took effect on the server that is replaced, and nowhere else."""
    state = after(situation.shown, call, UNKNOWN)
    if state is not None:
        yield evolve(situation, lost=state)
