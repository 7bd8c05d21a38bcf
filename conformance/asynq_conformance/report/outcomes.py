"""What a run found: an outcome for each law and backend, and the cell they make of a promise."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import Factory, define, field, frozen

from asynq_conformance.promises import LAYERS, SPEC_VERSION, Layer, Promise

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Status = Literal["ok", "weaker", "failed", "known", "skipped", "unknown"]

SEVERITY: Final[tuple[Status, ...]] = ("failed", "unknown", "known", "weaker", "ok", "skipped")
"""A cell is as good as the first of these that one of its tests has; "known" is a failure listed as such."""

SHOWN: Final[Mapping[str, str]] = {
    "failed": "FAIL",
    "unknown": "unknown",
    "known": "xfail",
    "weaker": "W",
    "ok": "ok",
    "skipped": "skip",
    "none": "-",
}
"""How the status of a cell is written; none: no test verified the promise."""


@frozen(kw_only=True)
class Fact:
    """What is known of a test before it runs."""

    column: str
    """The backend it runs on, as the table names it."""
    layer: Layer
    promises: tuple[str, ...]

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Fact:
        """The fact a report or a worker process sent."""
        return cls(column=plain["column"], layer=plain["layer"], promises=tuple(plain["promises"]))


@frozen(kw_only=True)
class LawOutcome:
    """What came of one test."""

    test: str
    fact: Fact
    status: Status
    reason: str = ""
    """Why it was skipped, is weaker, unknown or known to fail; how it failed."""
    seconds: float = 0.0
    figures: Mapping[str, int] = field(factory=dict)
    timelines: Sequence[Mapping[str, Any]] = ()
    repeat: str = ""
    """The command that repeats it, when it failed."""


@frozen
class Cell:
    """A promise on a backend."""

    outcomes: tuple[LawOutcome, ...]

    @property
    def status(self) -> Status | Literal["none"]:
        """The worst its tests found; none when there were no tests."""
        found = {outcome.status for outcome in self.outcomes}
        for status in SEVERITY:
            if status in found:
                return status
        return "none"

    def count(self, status: Status) -> int:
        """How many tests ended like this."""
        return sum(outcome.status == status for outcome in self.outcomes)

    @property
    def text(self) -> str:
        """As a table shows it: the status, then how many tests it has, or `-2` for two that were skipped."""
        status = self.status
        if status in ("failed", "unknown", "known", "skipped"):
            return f"{SHOWN[status]} {self.count(status)}"
        skipped = self.count("skipped")
        return f"{SHOWN[status]} -{skipped}" if skipped else SHOWN[status]


@define(kw_only=True)
class ConformanceReport:
    """All a run found."""

    outcomes: list[LawOutcome] = Factory(list)
    columns: list[str] = Factory(list)
    about: dict[str, dict[str, Any]] = Factory(dict)
    """By column: what the backend says of itself."""
    run: dict[str, Any] = Factory(dict)
    """Versions, profile, seed, command."""
    complaints: list[str] = Factory(list)
    """What is wrong with the file of known failures; what could not be collected."""
    spec: str = SPEC_VERSION

    def cell(self, promise: Promise, column: str) -> Cell:
        """The tests of this promise on this backend."""
        return Cell(
            tuple(
                outcome
                for outcome in self.outcomes
                if outcome.fact.column == column and promise.name in outcome.fact.promises
            )
        )

    def of(self, status: Status) -> list[LawOutcome]:
        """Tests that ended like this."""
        return [outcome for outcome in self.outcomes if outcome.status == status]

    @property
    def ok(self) -> bool:
        """True if nothing failed, nothing is open, and there is no complaint."""
        return not (self.of("failed") or self.of("unknown") or self.complaints)

    @property
    def complete(self) -> bool:
        """True if a test verified each promise on each backend."""
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
        """Those that have tests."""
        return [layer for layer in LAYERS if self.layer(layer)]

    def skip_reasons(self) -> list[tuple[str, str, int]]:
        """Column, reason and number of what was skipped, most first."""
        found = Counter((outcome.fact.column, outcome.reason) for outcome in self.of("skipped"))
        return sorted(
            ((column, reason, number) for (column, reason), number in found.items()),
            key=lambda found: (self.columns.index(found[0]), -found[2], found[1]),
        )


def figures(outcomes: Iterable[LawOutcome]) -> dict[str, int]:
    """What tests counted, added up by name in the order in which names came up."""
    total: dict[str, int] = {}
    for outcome in outcomes:
        for name, number in outcome.figures.items():
            total[name] = total.get(name, 0) + number
    return total


def statuses(outcomes: Iterable[LawOutcome]) -> dict[str, int]:
    """How many tests ended how."""
    found = Counter(outcome.status for outcome in outcomes)
    return {status: found[status] for status in SEVERITY if found[status]}
