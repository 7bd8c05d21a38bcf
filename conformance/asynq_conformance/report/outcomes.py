"""Results of a run: an outcome for each law and backend, and the table cell of each promise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import Factory, define, field, frozen

from asynq_conformance.promises import LAYERS, SPEC_VERSION, Layer, Promise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Status = Literal["ok", "weaker", "failed", "known", "skipped", "unknown"]

SEVERITY: Final[tuple[Status, ...]] = ("failed", "unknown", "known", "weaker", "ok", "skipped")
"""Worst first. A cell has the worst status among its tests. "known" is a listed failure."""

SHOWN: Final[Mapping[str, str]] = {
    "failed": "FAIL",
    "unknown": "unknown",
    "known": "xfail",
    "weaker": "W",
    "ok": "ok",
    "skipped": "skip",
    "none": "-",
}
"""Text of each status in a cell. "none": no test verified the promise."""


@frozen(kw_only=True)
class Fact:
    """What is known about a test before it runs."""

    column: str
    """Name of its backend in tables."""
    layer: Layer
    promises: tuple[str, ...]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Fact:
        """The fact that a report or a worker process sent."""
        return cls(column=plain["column"], layer=plain["layer"], promises=tuple(plain["promises"]))


@frozen(kw_only=True)
class LawOutcome:
    """Outcome of one test."""

    test: str
    fact: Fact
    status: Status
    reason: str = ""
    """Why it failed, was skipped, is weaker, unknown, or known to fail."""
    seconds: float = 0.0
    figures: Mapping[str, int] = field(factory=dict)
    timelines: Sequence[Mapping[str, Any]] = ()
    repeat: str = ""
    """The command that repeats a failed test."""


@frozen
class Cell:
    """One promise on one backend."""

    outcomes: tuple[LawOutcome, ...]

    @property
    def status(self) -> Status | Literal["none"]:
        """The worst status among its tests; "none" without tests."""
        found = {outcome.status for outcome in self.outcomes}
        for status in SEVERITY:
            if status in found:
                return status
        return "none"

    def count(self, status: Status) -> int:
        """Number of tests with this status."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def text(self) -> str:
        """Text in a table: the status and the number of its tests, or `-2` for two skipped ones."""
        status = self.status
        if status in ("failed", "unknown", "known", "skipped"):
            return f"{SHOWN[status]} {self.count(status)}"
        skipped = self.count("skipped")
        return f"{SHOWN[status]} -{skipped}" if skipped else SHOWN[status]


@define(kw_only=True)
class ConformanceReport:
    """All results of a run."""

    outcomes: list[LawOutcome] = Factory(list)
    columns: list[str] = Factory(list)
    about: dict[str, dict[str, Any]] = Factory(dict)
    """Facts about the backend, by column."""
    run: dict[str, Any] = Factory(dict)
    """Versions, profile, seed, command."""
    complaints: list[str] = Factory(list)
    """Errors in the file of known failures, and files that could not be collected."""
    spec: str = SPEC_VERSION

    def cell(self, promise: Promise, column: str) -> Cell:
        """The cell of this promise on this backend."""
        return Cell(
            tuple(
                outcome
                for outcome in self.outcomes
                if outcome.fact.column == column and promise.name in outcome.fact.promises
            )
        )

    def of(self, status: Status) -> list[LawOutcome]:
        """Tests with this status."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def ok(self) -> bool:
        """True if no test failed, no result is unknown, and there is no complaint."""
        return not (self.of("failed") or self.of("unknown") or self.complaints)

    @property
    def complete(self) -> bool:
        """True if each promise was verified on each backend."""
        verified = ("ok", "weaker")
        return all(
            self.cell(promise, column).status in verified for promise in Promise for column in self.columns
        )

    def layer(self, layer: Layer, column: str | None = None) -> list[LawOutcome]:
        """Tests of a layer, on one backend or on all."""
        return [
            outcome
            for outcome in self.outcomes
            if outcome.fact.layer == layer and column in (None, outcome.fact.column)
        ]

    @property
    def layers(self) -> list[Layer]:
        """Layers that have tests."""
        return [layer for layer in LAYERS if self.layer(layer)]

    def skip_reasons(self) -> list[tuple[str, str, int]]:
        """Column, reason and count of skipped tests, the most frequent first."""
        found = Counter((outcome.fact.column, outcome.reason) for outcome in self.of("skipped"))
        return sorted(
            ((column, reason, number) for (column, reason), number in found.items()),
            key=lambda found: (self.columns.index(found[0]), -found[2], found[1]),
        )


def figures(outcomes: Iterable[LawOutcome]) -> dict[str, int]:
    """Sums of the figures that tests reported, in the order of their first appearance."""
    total: dict[str, int] = {}
    for outcome in outcomes:
        for name, number in outcome.figures.items():
            total[name] = total.get(name, 0) + number
    return total


def statuses(outcomes: Iterable[LawOutcome]) -> dict[str, int]:
    """Number of tests by status."""
    found = Counter(outcome.status for outcome in outcomes)
    return {status: found[status] for status in SEVERITY if found[status]}
