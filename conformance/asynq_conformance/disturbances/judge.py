"""What the record of a disturbed run proves, given what may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq_conformance.histories.checking import CHECKERS, check
from asynq_conformance.histories.history import History, LossWindow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_conformance.disturbances.disturbance import DisturbedRun
    from asynq_conformance.histories.checking import HistoryReport

_SUSPENDED: Final = "G5"
"""Strict priority: a queue whose server is in trouble is passed over, so that it stops no other."""
_MARGIN: Final = 1_000_000_000
"""Nanoseconds before and after a disturbance within which what was done may be lost with it: what no replica
had taken yet, and what still went to a server that had been replaced."""


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


def judge(outcome: DisturbedRun, *, may_lose: bool, may_undo: bool = False) -> DisturbanceVerdict:
    """Hold the record against all checkers. A run that could not be drained proves nothing: a failure.

    may_lose, may_undo: what the store promises no more than, as a Disturbance states it.
    """
    window = LossWindow(begin=outcome.began - _MARGIN, end=outcome.ended + _MARGIN, acknowledged=may_lose)
    checkers = [checker for checker in CHECKERS if checker.promise != _SUSPENDED]
    report = check(
        History.load(outcome.record),
        windows=[window] if may_lose or may_undo else [],
        checkers=checkers,
    )
    counts = {**report.counts, "excused": len(report.excused)}
    figures = {
        **counts,
        "disturbed for": f"{(outcome.ended - outcome.began) / 1e9:.2f} s",
        "healed after": f"{outcome.slowest:.2f} s",
    }
    return DisturbanceVerdict(report=report, counts=counts, figures=figures)
