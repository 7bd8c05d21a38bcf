"""C13: tasks of a sequence run one at a time, in the order of their enqueue, and none waits for nobody."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.losses import may_lose_lease
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import NEVER_ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asynq.protocol.message import StoredTask
    from asynq_conformance.histories.history import Call, Handing, History, Key


class RunBeside(Violation):
    """C13."""

    says: ClassVar[str] = "had its turn, and another task of its sequence was handed out meanwhile"


class OutOfTurn(Violation):
    """C13."""

    says: ClassVar[str] = "had not ended, and a task that joined its sequence later was handed out"


class WaitsForNobody(Violation):
    """C13."""

    says: ClassVar[str] = "waits although no task of its sequence is left before it"


@frozen(eq=False)
class Precedence:
    """A time during which other tasks of a sequence surely must wait: the open interval."""

    key: Key
    call: Call
    """The enqueue, before all that come later; or the handing, before all others."""
    until: float


def sequences_run_in_turn(history: History) -> Verdict:
    """C13: from the answer that handed it out until it may have ended, a task of a sequence runs alone. From
    the answer to its enqueue until then no task is handed out whose enqueue began after that answer. And when
    all is quiet, none waits in a sequence of which nothing else is left.

    A task that is retried, requeued or recovered to run again has not ended.
    """
    violations: list[Violation] = []
    judged = 0
    for keys in _members(history).values():
        turns = [one for key in keys for one in _turns(history, key)]
        places = [one for key in keys for one in _places(history, key)]
        for key in keys:
            joined = min(call.invoked for call in history.enqueues[key] if call.possible)
            for handing in history.handings.get(key, ()):
                judged += 1
                violations += (_accusation(RunBeside, turn, handing) for turn in _meets(turns, key, handing))
                earlier = [place for place in places if place.call.responded < joined]
                violations += (_accusation(OutOfTurn, one, handing) for one in _meets(earlier, key, handing))
    violations += _stuck(history)
    return Verdict(tuple(violations), judged)


def _members(history: History) -> Mapping[tuple[str, str], Sequence[Key]]:
    """By queue and name: the tasks that may have joined the sequence."""
    found: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key, calls in history.enqueues.items():
        for name in {call.op.message.sequence for call in calls if call.possible}:
            if name:
                found[key[0], name].append(key)
    return found


def _turns(history: History, key: Key) -> Iterator[Precedence]:
    for handing in history.handings.get(key, ()):
        # A lease that is lost with its server may be all that made the task known.
        if not may_lose_lease(history, handing):
            yield Precedence(key, handing.call, _may_end_at(history, key, handing.call))


def _places(history: History, key: Key) -> Iterator[Precedence]:
    for call in history.enqueues[key]:
        if call.ok:
            yield Precedence(key, call, _may_end_at(history, key, call))


def _may_end_at(history: History, key: Key, since: Call) -> float:
    """When the first call began that may have ended the task after this one."""
    return min(
        (call.invoked for call in _ends(history, key) if call.effects_end >= since.invoked),
        default=NEVER_ENDED,
    )


def _ends(history: History, key: Key) -> Iterator[Call]:
    """Calls that may have taken the task out of its sequence."""
    for call in history.settlements.get(key, ()):
        if call.possible and isinstance(call.op, ops.Done | ops.Complete | ops.Archive):
            yield call
    yield from (call for call in history.recoveries.get(key, ()) if call.op.to == "archived")
    by_hand = [*history.by_hand.get(key, ()), *history.wholesale.get(key[0], ())]
    yield from (call for call in by_hand if call.possible)


def _meets(precedences: Sequence[Precedence], key: Key, handing: Handing) -> Iterator[Precedence]:
    """The first one of another task within which this one surely was handed out."""
    for one in precedences:
        within = one.call.responded < handing.call.invoked and handing.call.responded < one.until
        if one.key != key and within:
            yield one
            return


def _accusation(kind: type[Violation], one: Precedence, handing: Handing) -> Violation:
    return kind(queue=one.key[0], task_id=one.key[1], calls=(one.call, handing.call))


def _stuck(history: History) -> Iterator[Violation]:
    remains = history.remains
    if remains is None or remains.drained or remains.trouble:
        return
    for queue, tasks in remains.tasks.items():
        waiting: dict[str, StoredTask] = {}
        for task in tasks:
            if task.waiting:
                waiting.setdefault(task.message.sequence, task)
        lively = {task.message.sequence for task in tasks if _is_ahead(task)}
        for name in waiting.keys() - lively:
            detail = f"in {name!r}, when the drain gave up"
            yield WaitsForNobody(queue=queue, task_id=waiting[name].message.id, detail=detail)


def _is_ahead(task: StoredTask) -> bool:
    """True if the task may be the one that others of its sequence wait for."""
    return not task.waiting and task.state not in (TaskState.ARCHIVED, TaskState.COMPLETED)
