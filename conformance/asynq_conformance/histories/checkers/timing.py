"""C9: never early, never forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.losses import recovered_from_lost_run
from asynq_conformance.histories.checkers.verdict import Verdict, Violation
from asynq_conformance.histories.history import MILLISECOND
from asynq_conformance.histories.recorder import CLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.message import StoredTask
    from asynq_conformance.histories.history import Call, History, Key, Remains

_OVERDUE: Final = 2000 * MILLISECOND
"""A task that waits must have been due so long, when the drain gave up, to count as forgotten."""


class Early(Violation):
    """C9."""

    says: ClassVar[str] = "was handed out before it was due"


class Forgotten(Violation):
    """C9."""

    says: ClassVar[str] = "was due, or lost by its worker, and could not be taken any more"


def nothing_is_early_or_forgotten(history: History) -> Verdict:
    """C9: what waits is not handed out before its time, and when all is quiet everything that is due is.

    A task waits at least as long as was asked, counted from the beginning of the call that asked.
    """
    violations: list[Violation] = []
    judged = 0
    for key, cause, delay in (*_waits(history), *_reschedules(history)):
        judged += 1
        due = cause.invoked + delay * MILLISECOND - history.tolerance
        violations += [
            Early(queue=key[0], task_id=key[1], calls=(cause, handing.call))
            for handing in history.handings.get(key, ())
            if cause.before(handing.call) and handing.call.responded < due
        ]
    if history.remains is None:
        return Verdict(tuple(violations), judged, unknown="what remained was not written down")
    violations += _forgotten(history, history.remains)
    return Verdict(tuple(violations), judged)


def _waits(history: History) -> Iterator[tuple[Key, Call, int]]:
    """Calls that surely made a task wait that nobody moved, and for how many milliseconds."""
    for key, cause, delay in _delays(history):
        if not history.meddled(key):
            yield key, cause, delay


def _reschedules(history: History) -> Iterator[tuple[Key, Call, int]]:
    """The same for calls that surely gave a task another due time, if nobody moved it besides."""
    for key, calls in history.by_hand.items():
        alone = sum(call.possible for call in calls) == 1
        if alone and not any(call.possible for call in history.wholesale.get(key[0], ())):
            for call in calls:
                if call.ok and isinstance(call.op, ops.UpdateTask) and call.op.process_in:
                    yield key, call, call.op.process_in


def _delays(history: History) -> Iterator[tuple[Key, Call, int]]:
    for key, calls in history.enqueues.items():
        for call in calls:
            alone = sum(other.possible for other in calls) == 1
            if call.ok and alone and call.op.process_in:
                yield key, call, call.op.process_in
    for key, calls in history.settlements.items():
        for call in calls:
            if call.ok and isinstance(call.op, ops.Retry) and call.op.delay > 0:
                yield key, call, call.op.delay
    for key, calls in history.recoveries.items():
        for call in calls:
            waits = call.ok and call.answer and call.op.to == "retry" and call.op.delay > 0
            if waits and not recovered_from_lost_run(history, call):
                yield key, call, call.op.delay


def _forgotten(history: History, remains: Remains) -> Iterator[Violation]:
    if remains.drained or remains.trouble:
        return
    walls = [note.value["wall"] - note.at for note in history.notes if note.op == CLOCKS]
    latest_due = (remains.at + min(walls, default=0) - history.tolerance - _OVERDUE) // MILLISECOND
    for queue, tasks in remains.tasks.items():
        for task in tasks:
            if _overdue(task, latest_due):
                detail = f"{task.state.value} when the drain gave up"
                yield Forgotten(queue=queue, task_id=task.message.id, detail=detail)


def _overdue(task: StoredTask, latest_due: int) -> bool:
    if task.state is TaskState.PENDING:
        return True
    waiting = task.state in (TaskState.SCHEDULED, TaskState.RETRY, TaskState.ACTIVE)
    return waiting and task.due_at <= latest_due
