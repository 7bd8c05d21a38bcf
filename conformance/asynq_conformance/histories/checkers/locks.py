"""C5: within its time a lock, and as long as its task lives an id, has one owner."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol import ops
from asynq_conformance.histories.checkers.existence import endings
from asynq_conformance.histories.checkers.losses import may_lose_lease
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import MILLISECOND, NEVER_ENDED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from asynq_conformance.histories.history import Call, History, Key


class LockedTwice(Violation):
    """C5."""

    says: ClassVar[str] = "was accepted while another task surely held the same lock"


class MadeTwice(Violation):
    """C5."""

    says: ClassVar[str] = "was accepted while a task of this id surely existed"


class RefusedByNobody(Violation):
    """C5."""

    says: ClassVar[str] = "was refused although nobody can have held what it asked for"


@frozen(eq=False)
class Claim:
    """A lock or an id that an enqueue surely took, and until when it surely had it."""

    call: Call
    until: float


def a_lock_has_one_owner(history: History) -> Verdict:
    """C5: of two acknowledged enqueues of one lock or one id, the first had been given up, or may have been,
    before the second. And none is refused for the sake of owners that are all gone.
    """
    violations: list[Violation] = []
    judged = 0
    for wanted in _by_lock(history).values():
        claims = [Claim(call, _surely_locked_until(history, call)) for call in wanted if call.ok]
        judged += len(wanted)
        violations += (_named(LockedTwice, pair) for pair in _overlaps(claims))
        violations += _refused_by_nobody(history, wanted)
    for key, attempts in history.enqueues.items():
        if len(attempts) < 2:
            continue
        judged += len(attempts)
        claims = [Claim(call, _surely_there_until(history, key, call)) for call in attempts if call.ok]
        violations += (_named(MadeTwice, pair) for pair in _overlaps(claims))
        violations += _conflicting_with_nobody(history, key, attempts)
    return Verdict(tuple(violations), judged)


def _by_lock(history: History) -> dict[str, list[Call]]:
    found = defaultdict(list)
    for call in history.asking(ops.Enqueue):
        if call.op.unique is not None:
            found[call.op.message.unique_key].append(call)
    return found


def _key(call: Call) -> Key:
    return call.op.message.queue, call.op.message.id


def _named(kind: type[Violation], calls: Sequence[Call]) -> Violation:
    queue, task_id = _key(calls[-1])
    return kind(queue=queue, task_id=task_id, calls=tuple(calls))


def _overlaps(claims: list[Claim]) -> Iterator[tuple[Call, Call]]:
    """Pairs of enqueues, the second of which surely succeeded while the first surely had what both want."""
    claims.sort(key=lambda claim: claim.call.invoked)
    for place, first in enumerate(claims):
        for second in claims[place + 1 :]:
            if second.call.invoked > first.until:
                break
            if second.call.op.enqueue_id == first.call.op.enqueue_id:
                continue
            within = second.call.responded < first.until
            # If the calls overlap, either may have been the first.
            if within and (first.call.before(second.call) or first.call.responded < second.until):
                yield first.call, second.call


# --- locks --------------------------------------------------------------------------------------------


def _surely_locked_until(history: History, enqueue: Call) -> float:
    unique = enqueue.op.unique
    lapses: float = enqueue.invoked + unique.ttl * MILLISECOND - history.tolerance
    if unique.until == "expiry":
        return lapses
    return min(lapses, _first_after(enqueue, _releases(history, enqueue)))


def _first_after(enqueue: Call, calls: Iterable[Call]) -> float:
    """When the first of the calls began that may have taken effect after the enqueue."""
    return min((call.invoked for call in calls if call.effects_end >= enqueue.invoked), default=NEVER_ENDED)


def _releases(history: History, enqueue: Call) -> Iterator[Call]:
    """Calls that may have released the lock of this task."""
    key = _key(enqueue)
    yield from endings(history, key)
    yield from _moves(history, key)
    if enqueue.op.unique.until == "start":
        yield from (handing.call for handing in history.handings.get(key, ()))
        yield from history.unseen_takes


def _moves(history: History, key: Key) -> Iterator[Call]:
    """Calls that moved or deleted the task by hand, or may have."""
    moves = [*history.by_hand.get(key, ()), *history.wholesale.get(key[0], ())]
    return (call for call in moves if call.possible)


def _refused_by_nobody(history: History, wanted: Sequence[Call]) -> Iterator[Violation]:
    renamed = any(call.op.payload is not None for call in history.asking(ops.UpdateTask))
    if renamed or history.asking(*_GROUPED):
        return
    for refused in wanted:
        # A copy is refused although the first one was not: who may have been first is not judged.
        if not refused.possible and isinstance(refused.answer, DuplicateTaskError):
            rivals = [
                call
                for call in wanted
                if call.possible and call is not refused and call.invoked <= refused.responded
            ]
            if all(_surely_released(history, rival, refused) for rival in rivals):
                yield _named(RefusedByNobody, (*rivals, refused))


_GROUPED = (ops.EnqueueTick, ops.FinishAggregation)


def _surely_released(history: History, owner: Call, before: Call) -> bool:
    if not owner.ok:
        return False
    unique, key = owner.op.unique, _key(owner)
    at_once = owner.op.process_in is None and owner.op.process_at is None
    lapsed = owner.effects_end + unique.ttl * MILLISECOND + history.tolerance < before.invoked
    if at_once and not unique.keep and lapsed:
        return True
    if unique.until == "expiry":
        return False
    makers = [call for call in history.enqueues[key] if call.possible and call.invoked <= before.responded]
    made = _most_made(history, key, makers)
    if sum(call.before(before) for call in _surely_ended(history, key)) >= made:
        return True
    # Of several tasks of this id each must have been started: surely so what was made last.
    last = max(maker.effects_end for maker in makers) if made > 1 else 0
    started = history.handings.get(key, ()) if unique.until == "start" else ()
    return any(
        handing.call.before(before) and handing.call.invoked > last and not may_lose_lease(history, handing)
        for handing in started
    )


def _most_made(history: History, key: Key, makers: Sequence[Call]) -> float:
    """How many tasks of this id these enqueues may have made.

    An enqueue that was sent more than once makes one more with each copy that comes after the end of the task
    that an earlier copy made. So it makes no more than there are ends while its copies may take effect.
    """
    copied = [call for call in makers if call.maybe_resent]
    if not copied:
        return len(makers)
    ends = list(endings(history, key))
    if any(call.possible for call in history.wholesale.get(key[0], ())) or any(
        call.maybe_resent for call in ends if isinstance(call.op, ops.DeleteTask)
    ):
        return NEVER_ENDED
    within = (
        end.responded >= call.invoked and end.invoked <= (call.resent_until or 0)
        for call in copied
        for end in ends
    )
    return len(makers) + sum(within)


def _surely_ended(history: History, key: Key) -> Iterator[Call]:
    """Calls that surely ended a task of this id, once each."""
    kinds = (ops.Done, ops.Complete, ops.DeleteTask)
    return (call for call in endings(history, key) if call.ok and isinstance(call.op, kinds))


# --- ids ----------------------------------------------------------------------------------------------


def _surely_there_until(history: History, key: Key, enqueue: Call) -> float:
    return _first_after(enqueue, (*endings(history, key), *_moves(history, key)))


def _conflicting_with_nobody(history: History, key: Key, attempts: Sequence[Call]) -> Iterator[Violation]:
    """A conflict although as many tasks of the id were surely deleted as can have been made."""
    made = [call for call in attempts if call.possible]
    gone = [call for call in _surely_ended(history, key) if not isinstance(call.op, ops.Complete)]
    for refused in attempts:
        if isinstance(refused.answer, TaskIDConflictError):
            makers = [call for call in made if call.invoked <= refused.responded]
            if sum(call.before(refused) for call in gone) >= _most_made(history, key, makers):
                yield _named(RefusedByNobody, (*made, refused))
