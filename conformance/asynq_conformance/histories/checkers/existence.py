"""C1, C2, C10, C11: tasks are where they must be, and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from asynq.protocol import ops
from asynq.protocol.failures import without_failures
from asynq_conformance.histories.checkers.verdict import Verdict, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from asynq.protocol.message import TaskMessage
    from asynq_conformance.histories.history import Call, Handing, History, Key, Remains


class Lost(Violation):
    """C1."""

    says: ClassVar[str] = "was acknowledged; nobody ended it, and it is there no longer"


class NeverEnqueued(Violation):
    """C2."""

    says: ClassVar[str] = "was handed out before anybody asked for it"


class Altered(Violation):
    """C2."""

    says: ClassVar[str] = "was handed out as another than it was enqueued"


class FinishedUnseen(Violation):
    """C2."""

    says: ClassVar[str] = "was finished by a run that it had not been handed to"


class Resurrected(Violation):
    """C10."""

    says: ClassVar[str] = "was handed out after it had been finished"


class EffectOfError(Violation):
    """C11."""

    says: ClassVar[str] = "exists although every attempt to make it was refused"


def no_task_is_lost(history: History) -> Verdict:
    """C1: as many tasks of an id as were acknowledged were ended by somebody, or are still there."""
    remains = history.remains
    if remains is None:
        return Verdict(unknown="what remained was not written down")
    present = set(_present(remains))
    thinned = {queue for queue in remains.stats if _thinned(history, remains, queue)}
    violations, judged = [], 0
    for key, attempts in history.enqueues.items():
        made = {call.op.enqueue_id: call for call in attempts if call.ok}
        ended = list(endings(history, key))
        # A copy of a deletion may have deleted a task of its own.
        more = any(call.maybe_resent for call in ended if not isinstance(call.op, ops.Done | ops.Complete))
        if not made or more or key[0] in thinned:
            continue
        judged += 1
        if len(made) > len(ended) + (key in present):
            violations.append(Lost(queue=key[0], task_id=key[1], calls=tuple(made.values())))
    return Verdict(tuple(violations), judged)


def _thinned(history: History, remains: Remains, queue: str) -> bool:
    """True if tasks of the queue may have been removed that no call names."""
    if any(call.possible for call in history.wholesale.get(queue, ())):
        return True
    bounds = [call.op.max_size for call in history.asking(ops.Archive, ops.Recover, ops.ArchiveTask)]
    return remains.stats[queue].archived >= min(bounds, default=1)


def endings(history: History, key: Key) -> Iterator[Call]:
    """Calls that ended a task of this id, or may have: one for each run or deletion."""
    runs: dict[str, Call] = {}
    for call in history.settlements.get(key, ()):
        if call.possible and isinstance(call.op, ops.Done | ops.Complete):
            known = runs.setdefault(call.op.delivery.token, call)
            if call.ok and not known.ok:
                runs[call.op.delivery.token] = call
    yield from runs.values()
    for call in history.by_hand.get(key, ()):
        if call.possible and isinstance(call.op, ops.DeleteTask):
            yield call
    for call in history.enqueues.get(key, ()):
        if call.possible and call.op.on_conflict == "replace_finished":
            yield call


def _present(remains: Remains) -> Iterator[Key]:
    for queue, tasks in remains.tasks.items():
        yield from ((queue, task.message.id) for task in tasks)


def what_is_handed_out_was_enqueued(history: History) -> Verdict:
    """C2: a task is handed out as somebody enqueued it, and finished by those it was handed to."""
    violations: list[Violation] = []
    for key, handings in history.handings.items():
        for handing in handings:
            violations += _judge_handing(history, key, handing)
    finished = [call for call in history.asking(ops.Done, ops.Complete) if call.ok]
    for call in finished:
        delivery = call.op.delivery
        key = delivery.message.queue, delivery.message.id
        if not any(
            handing.delivery.token == delivery.token and handing.call.invoked <= call.responded
            for handing in history.handings.get(key, ())
        ):
            violations.append(FinishedUnseen(queue=key[0], task_id=key[1], calls=(call,)))
    return Verdict(tuple(violations), sum(map(len, history.handings.values())) + len(finished))


def _judge_handing(history: History, key: Key, handing: Handing) -> Iterable[Violation]:
    attempts = history.enqueues.get(key, ())
    sent = [call for call in attempts if call.invoked <= handing.call.responded]
    if not sent:
        yield NeverEnqueued(queue=key[0], task_id=key[1], calls=(handing.call,))
        return
    contents = [_content(call.op.message) for call in sent if call.possible]
    if contents and not history.meddled(key) and _content(handing.delivery.message) not in contents:
        yield Altered(queue=key[0], task_id=key[1], calls=(*sent, handing.call))


def _content(message: TaskMessage) -> tuple[object, ...]:
    return (
        message.type,
        message.payload,
        # Failed attempts are added while the task lives.
        dict(without_failures(message.headers)),
        message.max_retry,
        message.timeout,
        message.deadline,
        message.retention,
    )


def nothing_finished_is_handed_out(history: History) -> Verdict:
    """C10: no handing begins after the task's end was confirmed, unless it was made or moved anew."""
    violations, judged = [], 0
    for key, settlements in history.settlements.items():
        for end in settlements:
            if not end.ok or not isinstance(end.op, ops.Done | ops.Complete):
                continue
            judged += 1
            later = [handing.call for handing in history.handings.get(key, ()) if end.before(handing.call)]
            violations += [
                Resurrected(queue=key[0], task_id=key[1], calls=(end, handing))
                for handing in later
                if not _lives_again(history, key, end, handing)
            ]
    return Verdict(tuple(violations), judged)


def _lives_again(history: History, key: Key, end: Call, handing: Call) -> bool:
    """True if the task may have been made anew, or made to run again, between the two."""
    causes = [*history.enqueues.get(key, ())]
    if isinstance(end.op, ops.Complete):
        causes += [*history.by_hand.get(key, ()), *history.wholesale.get(key[0], ())]
    return any(
        cause.possible and cause.effects_end >= end.invoked and cause.invoked <= handing.responded
        for cause in causes
    )


def refused_tasks_do_not_exist(history: History) -> Verdict:
    """C11: of a task whose every enqueue was refused nothing is seen."""
    remaining = set(_present(history.remains)) if history.remains else set()
    violations, judged = [], 0
    for key, attempts in history.enqueues.items():
        if any(call.possible for call in attempts):
            continue
        judged += 1
        seen = tuple(handing.call for handing in history.handings.get(key, ()))
        if seen or key in remaining:
            violations.append(EffectOfError(queue=key[0], task_id=key[1], calls=(*attempts, *seen)))
    return Verdict(tuple(violations), judged)
