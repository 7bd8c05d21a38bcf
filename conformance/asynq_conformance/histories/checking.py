"""All checkers over one history, and what they found: also long after the run, from the file alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from asynq.protocol import ops
from asynq_conformance.histories.checkers.counters import counters_count_what_happened
from asynq_conformance.histories.checkers.existence import (
    no_task_is_lost,
    nothing_finished_is_handed_out,
    refused_tasks_do_not_exist,
    what_is_handed_out_was_enqueued,
)
from asynq_conformance.histories.checkers.leases import a_lease_is_exclusive, stale_runs_are_refused
from asynq_conformance.histories.checkers.linear import small_queues_are_linearizable
from asynq_conformance.histories.checkers.locks import a_lock_has_one_owner
from asynq_conformance.histories.checkers.order import (
    a_queue_is_first_in_first_out,
    preferred_queues_come_first,
)
from asynq_conformance.histories.checkers.sequences import sequences_run_in_turn
from asynq_conformance.histories.checkers.timing import nothing_is_early_or_forgotten
from asynq_conformance.histories.history import History
from asynq_conformance.histories.record import EventKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from asynq_conformance.histories.checkers.verdict import Verdict, VerdictState, Violation
    from asynq_conformance.histories.history import LossWindow


@frozen
class Checker:
    """One rule, by the name of the design and the promise it verifies."""

    name: str
    promise: str
    judge: Callable[[History], Verdict]


CHECKERS: Final = (
    Checker("C1", "G1", no_task_is_lost),
    Checker("C2", "G2", what_is_handed_out_was_enqueued),
    Checker("C3", "G3", a_lease_is_exclusive),
    Checker("C4", "G3", stale_runs_are_refused),
    Checker("C5", "G4", a_lock_has_one_owner),
    Checker("C6", "G5", preferred_queues_come_first),
    Checker("C7", "G7", a_queue_is_first_in_first_out),
    Checker("C8", "G8", counters_count_what_happened),
    Checker("C9", "G9", nothing_is_early_or_forgotten),
    Checker("C10", "G10", nothing_finished_is_handed_out),
    Checker("C11", "G10", refused_tasks_do_not_exist),
    Checker("C12", "G10", small_queues_are_linearizable),
    Checker("C13", "G7", sequences_run_in_turn),
)


@frozen(kw_only=True)
class HistoryReport:
    """What all checkers say of a history."""

    verdicts: Mapping[str, Verdict]
    """By the checker's name."""
    excused: tuple[Violation, ...] = ()
    """Violations within a loss window: not counted as such."""
    counts: Mapping[str, int]
    """tasks, operations, ... as a report prints them."""
    incomplete: str = ""
    """Why nothing in this history can be called ok; "" when it was drained to its end."""

    @property
    def violations(self) -> tuple[Violation, ...]:
        """All of them."""
        return tuple(found for verdict in self.verdicts.values() for found in verdict.violations)

    @property
    def state(self) -> VerdictState:
        """FAIL if anything was violated; ok if the history is complete and everything could be judged."""
        states = {self.state_of(name) for name in self.verdicts}
        return "FAIL" if "FAIL" in states else "unknown" if "unknown" in states else "ok"

    def state_of(self, name: str) -> VerdictState:
        """What one checker says: of an incomplete history never ok."""
        state = self.verdicts[name].state
        return "unknown" if state == "ok" and self.incomplete else state

    def of_one(self, name: str) -> str:
        """What one checker says, with the first violations."""
        verdict = self.verdicts[name]
        undecided = f", {verdict.undecided} undecided" if verdict.undecided else ""
        lines = [f"{name}: {self.state_of(name)} ({verdict.judged:,} judged{undecided})"]
        lines += [f"  {violation}" for violation in verdict.violations[:5]]
        if len(verdict.violations) > 5:
            lines.append(f"  and {len(verdict.violations) - 5} more")
        return "\n".join(lines)

    def __str__(self) -> str:
        lines = [", ".join(f"{count:,} {what}" for what, count in self.counts.items())]
        if self.incomplete:
            lines.append(f"incomplete: {self.incomplete}")
        return "\n".join([*lines, *map(self.of_one, self.verdicts)])


def check(
    history: History, *, windows: Sequence[LossWindow] = (), checkers: Sequence[Checker] = CHECKERS
) -> HistoryReport:
    """Judge a history by all rules, given the windows in which a fault may have undone something."""
    history = History(history.calls, history.notes, history.remains, (*history.windows, *windows))
    verdicts: dict[str, Verdict] = {}
    excused: list[Violation] = []
    for checker in checkers:
        verdict = checker.judge(history)
        forgiven = {
            found for found in verdict.violations if any(_excuses(one, found) for one in history.windows)
        }
        excused += forgiven
        standing = tuple(found for found in verdict.violations if found not in forgiven)
        verdicts[checker.name] = evolve(verdict, violations=standing)
    return HistoryReport(
        verdicts=verdicts, excused=tuple(excused), counts=counts(history), incomplete=_incomplete(history)
    )


def check_file(path: Path, *, windows: Sequence[LossWindow] = ()) -> HistoryReport:
    """Judge the history in a file. RecordError when it holds none."""
    return check(History.load(path), windows=windows)


def _excuses(window: LossWindow, violation: Violation) -> bool:
    """True if the loss of acknowledged operations may have caused the violation.

    One of the calls that show it was then under way in the window. A call without an end shows nothing.
    """
    return window.acknowledged and (violation.of_many or any(map(window.meets_answer, violation.calls)))


def _incomplete(history: History) -> str:
    if history.remains is None:
        return "the run was not drained"
    if not history.remains.drained:
        return f"the drain did not come to its end {history.remains.trouble}".rstrip()
    return ""


def counts(history: History) -> dict[str, int]:
    """What a report says of the size of a history."""
    made = {key for key, calls in history.enqueues.items() if any(call.ok for call in calls)}
    unknown = [call for call in history.calls if call.outcome is EventKind.INFO]
    seen = history.handings.keys() | {
        (queue, task.message.id)
        for queue, tasks in (history.remains.tasks if history.remains else {}).items()
        for task in tasks
    }
    resolved = [
        call
        for call in unknown
        if isinstance(call.op, ops.Enqueue) and (call.op.message.queue, call.op.message.id) in seen
    ]
    return {
        "tasks": len(made),
        "operations": len(history.calls),
        "lost": len(no_task_is_lost(history).violations),
        "repeated": sum(
            max(len(handings) - sum(call.possible for call in history.enqueues.get(key, ())), 0)
            for key, handings in history.handings.items()
        ),
        "unknown": len(unknown),
        "unknown resolved": len(resolved),
    }
