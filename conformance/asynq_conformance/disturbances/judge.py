"""What the record of a disturbed run proves, given what may be lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq_conformance.histories.checking import CHECKERS, LossWindow, check
from asynq_conformance.histories.history import History

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_conformance.disturbances.disturbance import Outcome

_MARGIN: Final = 1_000_000_000
"""Nanoseconds before and after a disturbance within which what is acknowledged may be lost with it: what no
replica had taken yet, and what still went to a server that had been replaced."""
_TOTALS: Final = "C8"
"""The checker of counters: totals of a store that lost some of its past cannot be held against it."""


@frozen(kw_only=True)
class Verdict:
    """What was found."""

    failures: list[str]
    counts: Mapping[str, int]
    """What happened how often."""
    figures: Mapping[str, Any]
    """The same, and how long it took, for people."""


def judge(outcome: Outcome, *, may_lose: bool) -> Verdict:
    """Hold the record against all checkers. A run that could not be drained proves nothing: a failure."""
    window = LossWindow(begin=outcome.began - _MARGIN, end=outcome.ended + _MARGIN)
    report = check(
        History.load(outcome.record),
        windows=[window] if may_lose else [],
        checkers=[checker for checker in CHECKERS if not (may_lose and checker.name == _TOTALS)],
    )
    failures = [str(violation) for violation in report.violations]
    if report.incomplete:
        failures.append(report.incomplete)
    counts = {**report.counts, "excused": len(report.excused)}
    figures = {
        **counts,
        "disturbed for": f"{(outcome.ended - outcome.began) / 1e9:.2f} s",
        "healed after": f"{outcome.slowest:.2f} s",
    }
    return Verdict(failures=failures, counts=counts, figures=figures)
