"""What the record of a disturbed run proves, given what may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from asynq_conformance.histories.checking import CHECKERS, LossWindow, check
from asynq_conformance.histories.history import History

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_conformance.disturbances.disturbance import DisturbedRun
    from asynq_conformance.histories.checkers.verdict import Verdict
    from asynq_conformance.histories.checking import Checker, HistoryReport

_SUSPENDED: Final = "G5"
"""Strict priority: a queue whose server is in trouble is passed over, so that it stops no other."""
_TWICE: Final = "C12"
"""The rule that each call has one effect. What is sent again while replies are lost may have two: a copy
finds its task gone, run to its end, and makes it anew."""
_MARGIN: Final = 1_000_000_000
"""Nanoseconds before and after a disturbance within which what is acknowledged may be lost with it: what no
replica had taken yet, and what still went to a server that had been replaced."""


@frozen(kw_only=True)
class DisturbanceVerdict:
    """What was found, and how often what happened."""

    report: HistoryReport
    counts: Mapping[str, int]
    """What happened how often."""
    figures: Mapping[str, Any]
    """The same, and how long it took, for people."""

    @property
    def failures(self) -> list[str]:
        """What was violated, and why nothing was proved."""
        found = [str(violation) for violation in self.report.violations]
        return [*found, self.report.incomplete] if self.report.incomplete else found


def judge(outcome: DisturbedRun, *, may_lose: bool) -> DisturbanceVerdict:
    """Hold the record against all checkers. A run that could not be drained proves nothing: a failure."""
    window = LossWindow(begin=outcome.began - _MARGIN, end=outcome.ended + _MARGIN)
    checkers = [checker for checker in CHECKERS if checker.promise != _SUSPENDED]
    report = check(
        History.load(outcome.record),
        windows=[window] if may_lose else [],
        checkers=[_single_effects_after(checker, outcome) for checker in checkers],
    )
    counts = {**report.counts, "excused": len(report.excused)}
    figures = {
        **counts,
        "disturbed for": f"{(outcome.ended - outcome.began) / 1e9:.2f} s",
        "healed after": f"{outcome.slowest:.2f} s",
    }
    return DisturbanceVerdict(report=report, counts=counts, figures=figures)


def _single_effects_after(checker: Checker, outcome: DisturbedRun) -> Checker:
    """The checker; that of single effects leaves out what was under way during the disturbance."""
    if checker.name != _TWICE:
        return checker
    disturbed = LossWindow(begin=outcome.began, end=outcome.ended)

    def undisturbed(history: History) -> Verdict:
        verdict = checker.judge(history)
        found = tuple(one for one in verdict.violations if not disturbed.excuses(one))
        return evolve(verdict, violations=found)

    return evolve(checker, judge=undisturbed)
