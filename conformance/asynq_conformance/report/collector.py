"""Makes a report of what pytest reports, wherever tests ran: in this process or in those of pytest-xdist."""

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
NEVER_REPORTED: Final = "its outcome was never reported: the run ended first"


class Collector:
    """Takes one report after the other; every test it knows of has an outcome in the end."""

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}
        self._outcomes: dict[str, LawOutcome] = {}
        self._about: dict[str, dict[str, Any]] = {}
        self._strays: list[pytest.TestReport] = []

    def __bool__(self) -> bool:
        return bool(self._facts)

    def expect(self, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """These tests were selected: each must be reported."""
        self._facts |= {test: Fact.read(plain) for test, plain in facts.items()}

    def add(self, report: pytest.TestReport) -> None:
        """Take the report of one phase of a test. One that is not of the suite is passed over."""
        told = _told(report)
        if FACT in told:
            self._facts[report.nodeid] = Fact.read(told[FACT][-1])
        fact = self._facts.get(report.nodeid)
        if fact is not None:
            self._take(report, fact, told)
        elif report.failed:
            self._strays.append(report)

    def _take(self, report: pytest.TestReport, fact: Fact, told: Mapping[str, list[Any]]) -> None:
        self._about.setdefault(fact.column, {}).update(*told.get(ABOUT, [])[-1:])
        status, reason = _status(report, told)
        before = self._outcomes.get(report.nodeid)
        if status is None or (before and before.status == "failed"):
            status, reason = (before.status, before.reason) if before else ("unknown", NEVER_REPORTED)
        self._outcomes[report.nodeid] = LawOutcome(
            test=report.nodeid,
            fact=fact,
            status=status,
            reason=reason,
            seconds=(before.seconds if before else 0.0) + report.duration,
            figures=_added(told.get(PROPERTY_PREFIX + "count", [])),
            timelines=told.get(PROPERTY_PREFIX + "timeline", []),
            repeat=told.get(REPEAT, [""])[-1],
        )

    def report(self) -> ConformanceReport:
        """All there is to say. A test that was not heard of is unknown."""
        for stray in self._strays:  # whose process died with it: what the test is about, others told
            if stray.nodeid in self._facts:
                self._take(stray, self._facts[stray.nodeid], {})
        outcomes = [
            self._outcomes.get(test)
            or LawOutcome(test=test, fact=fact, status="unknown", reason=NEVER_REPORTED)
            for test, fact in self._facts.items()
        ]
        columns = list(dict.fromkeys(fact.column for fact in self._facts.values()))
        return ConformanceReport(outcomes=outcomes, columns=sorted(columns), about=self._about)


def _told(report: pytest.TestReport) -> dict[str, list[Any]]:
    told: dict[str, list[Any]] = {}
    for name, value in report.user_properties:
        if name.startswith(PROPERTY_PREFIX):
            told.setdefault(name, []).append(value)
    return told


def _status(report: pytest.TestReport, told: Mapping[str, list[Any]]) -> tuple[Status | None, str]:
    """What this phase says; None when it has nothing to add to the phases before."""
    if report.failed:
        return "failed", shortened(report.longreprtext) or report.outcome
    if PROPERTY_PREFIX + "unknown" in told:
        return "unknown", told[PROPERTY_PREFIX + "unknown"][-1]
    if hasattr(report, "wasxfail"):
        return ("known" if report.skipped else "ok"), str(report.wasxfail)
    if report.skipped:
        return "skipped", _skip_reason(report)
    if report.when == "call":
        weaker = told.get(PROPERTY_PREFIX + "weaker")
        return ("weaker", "; ".join(weaker)) if weaker else ("ok", "")
    return None, ""


def shortened(text: str) -> str:
    """What pytest shows of a failure; of a long one whole lines, from where the code ends."""
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
