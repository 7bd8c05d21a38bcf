"""Builds the report from pytest's reports, of this process and of the processes of pytest-xdist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq_conformance.properties import PROPERTY_PREFIX
from asynq_conformance.report.outcomes import ConformanceReport, Fact, LawOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

FACT: Final = PROPERTY_PREFIX + "fact"
ABOUT: Final = PROPERTY_PREFIX + "about"
REPEAT: Final = PROPERTY_PREFIX + "repeat"
LONGEST_REASON: Final = 8000
NEVER_REPORTED: Final = "its outcome was not reported before the run ended"


class Collector:
    """Collects the reports of tests. Every selected test has an outcome in the end."""

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}
        self._outcomes: dict[str, LawOutcome] = {}
        self._about: dict[str, dict[str, Any]] = {}
        self._strays: list[pytest.TestReport] = []

    def __bool__(self) -> bool:
        return bool(self._facts)

    def expect(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Register selected tests. Each must be reported."""
        self._facts |= {test: Fact.read(plain) for test, plain in facts.items()}

    def add(self, report: pytest.TestReport) -> None:
        """Add the report of one phase of a test. Tests outside the suite are ignored."""
        evidence = _evidence(report)
        if FACT in evidence:
            self._facts[report.nodeid] = Fact.read(evidence[FACT][-1])
        fact = self._facts.get(report.nodeid)
        if fact is not None:
            self._take(report, fact, evidence)
        elif report.failed:
            self._strays.append(report)

    def _take(self, report: pytest.TestReport, fact: Fact, evidence: Mapping[str, list[Any]]) -> None:
        self._about.setdefault(fact.column, {}).update(*evidence.get(ABOUT, [])[-1:])
        status, reason = _status(report, evidence)
        before = self._outcomes.get(report.nodeid)
        if status is None or (before and before.status == "failed"):
            status, reason = (before.status, before.reason) if before else ("unknown", NEVER_REPORTED)
        self._outcomes[report.nodeid] = LawOutcome(
            test=report.nodeid,
            fact=fact,
            status=status,
            reason=reason,
            seconds=(before.seconds if before else 0.0) + report.duration,
            figures=_added(evidence.get(PROPERTY_PREFIX + "count", [])),
            timelines=evidence.get(PROPERTY_PREFIX + "timeline", []),
            repeat=evidence.get(REPEAT, [""])[-1],
        )

    def report(self) -> ConformanceReport:
        """The complete report. A test without any report is unknown."""
        for stray in self._strays:  # of a process that died: the facts of the test came from the others
            if stray.nodeid in self._facts:
                self._take(stray, self._facts[stray.nodeid], {})
        outcomes = [
            self._outcomes.get(test)
            or LawOutcome(test=test, fact=fact, status="unknown", reason=NEVER_REPORTED)
            for test, fact in self._facts.items()
        ]
        columns = list(dict.fromkeys(fact.column for fact in self._facts.values()))
        return ConformanceReport(outcomes=outcomes, columns=sorted(columns), about=self._about)


def _evidence(report: pytest.TestReport) -> dict[str, list[Any]]:
    evidence: dict[str, list[Any]] = {}
    for name, value in report.user_properties:
        if name.startswith(PROPERTY_PREFIX):
            evidence.setdefault(name, []).append(value)
    return evidence


def _status(report: pytest.TestReport, evidence: Mapping[str, list[Any]]) -> tuple[Status | None, str]:
    """The outcome of this phase; None if it adds nothing to the earlier phases."""
    if report.failed:
        return "failed", shortened(report.longreprtext) or report.outcome
    if PROPERTY_PREFIX + "unknown" in evidence:
        return "unknown", evidence[PROPERTY_PREFIX + "unknown"][-1]
    if hasattr(report, "wasxfail"):
        return ("known" if report.skipped else "ok"), str(report.wasxfail)
    if report.skipped:
        return "skipped", _skip_reason(report)
    if report.when == "call":
        weaker = evidence.get(PROPERTY_PREFIX + "weaker")
        return ("weaker", "; ".join(weaker)) if weaker else ("ok", "")
    return None, ""


def shortened(text: str) -> str:
    """The failure text of pytest. A long one is cut to whole lines, starting with the error message."""
    if len(text) <= LONGEST_REASON:
        return text
    lines = text.splitlines()
    said = next((number for number, line in enumerate(lines) if line.startswith("E ")), 0)
    rest = "\n".join(lines[said:])
    return rest if len(rest) <= LONGEST_REASON else rest[:LONGEST_REASON].rpartition("\n")[0] + "\n..."


def _skip_reason(report: pytest.TestReport) -> str:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return reason.removeprefix("Skipped: ")


def _added(counts: list[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for counted in counts:
        for name, number in counted.items():
            total[name] = total.get(name, 0) + number
    return total
