"""C3, C4: one holder at a time, and stale ones are refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, ClassVar

from asynq.protocol import ops
from asynq_conformance.histories.checkers.losses import may_lose_lease
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import MILLISECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asynq_conformance.histories.history import Call, Handing, History, Key


class HeldTwice(Violation):
    """C3."""

    says: ClassVar[str] = "was handed out while another run surely held it"


class HandedTwice(Violation):
    """C3."""

    says: ClassVar[str] = "was handed out twice by one call"


class TakenFromTheLiving(Violation):
    """C3."""

    says: ClassVar[str] = "was recovered while its run surely held it"


class StaleWrite(Violation):
    """C4."""

    says: ClassVar[str] = "was changed by a run that had lost it to another"


def a_lease_is_exclusive(history: History) -> Verdict:
    """C3: from the answer that handed it out until its run begins to end, a task whose lease has not run out
    is neither handed out again nor recovered.

    The lease cannot run out before its length has passed since the call that made or extended it began.
    """
    extensions = _extensions(history)
    violations: list[Violation] = []
    judged = 0
    for key, handings in history.handings.items():
        violations += _twice_at_once(key, handings)
        recoveries = [call for call in history.recoveries.get(key, ()) if call.ok and call.answer]
        if len(handings) < 2 and not recoveries:
            continue
        for handing in handings:
            if may_lose_lease(history, handing):
                continue
            judged += 1
            until = _surely_held_until(history, key, handing, extensions)
            violations += _intruders(key, handing, until, handings, recoveries)
    return Verdict(tuple(violations), judged)


def _extensions(history: History) -> Mapping[tuple[str, str, str], Sequence[Call]]:
    found = defaultdict(list)
    for call in history.asking(ops.ExtendLease):
        if call.ok:
            lease = call.op.lease
            found[lease.queue, lease.task_id, lease.token].append(call)
    return found


def _surely_held_until(
    history: History, key: Key, handing: Handing, extensions: Mapping[tuple[str, str, str], Sequence[Call]]
) -> float:
    token = handing.delivery.token
    lapses: list[float] = [handing.call.invoked + handing.call.op.lease * MILLISECOND]
    lapses += [call.invoked + call.op.duration * MILLISECOND for call in extensions.get((*key, token), ())]
    ends = [call.invoked for call in history.settlements.get(key, ()) if call.op.delivery.token == token]
    return min([max(lapses) - history.tolerance, *ends])


def _intruders(
    key: Key, holder: Handing, until: float, handings: Sequence[Handing], recoveries: Sequence[Call]
) -> Iterator[Violation]:
    since = holder.call.responded
    for other in handings:
        if other.delivery.token == holder.delivery.token:
            continue
        if other.call.invoked > since and other.call.responded < until:
            yield HeldTwice(queue=key[0], task_id=key[1], calls=(holder.call, other.call))
    for call in recoveries:
        if call.invoked > since and call.responded < until:
            yield TakenFromTheLiving(queue=key[0], task_id=key[1], calls=(holder.call, call))


def _twice_at_once(key: Key, handings: Sequence[Handing]) -> Iterator[Violation]:
    for call, times in Counter(handing.call for handing in handings).items():
        if times > 1:
            yield HandedTwice(queue=key[0], task_id=key[1], calls=(call,))


def stale_runs_are_refused(history: History) -> Verdict:
    """C4: nothing that a run asks for succeeds if it began after the task had been handed to a later run.

    Tokens say who is who; which of two runs is the later one is told by the calls that handed them out.
    """
    violations, judged = [], 0
    for key, token, call in _writes(history):
        handings = history.handings.get(key, ())
        own = [handing.call for handing in handings if handing.delivery.token == token]
        if not own:
            continue
        judged += 1
        first = min(own, key=lambda handing: handing.responded)
        for other in handings:
            later = other.delivery.token != token and first.before(other.call)
            if later and other.call.before(call) and not may_lose_lease(history, other):
                violations.append(StaleWrite(queue=key[0], task_id=key[1], calls=(first, other.call, call)))
                break
    return Verdict(tuple(violations), judged)


def _writes(history: History) -> Iterator[tuple[Key, str, Call]]:
    """Calls that only the holder of a task may make, and that succeeded."""
    for key, calls in history.settlements.items():
        yield from ((key, call.op.delivery.token, call) for call in calls if call.ok)
    for call in history.asking(ops.ExtendLease, ops.WriteResult):
        if call.ok:
            lease = call.op.lease
            yield (lease.queue, lease.task_id), lease.token, call
