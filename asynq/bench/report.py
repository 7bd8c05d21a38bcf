"""The report of a run: results by row, as data, and which floors were missed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.bench.summary import Better, RowVerdict, Summary, verdict
from asynq.bench.system import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.bench.row import Row
    from asynq.bench.run import Measurements
    from asynq.bench.system import MeasuredSystem

SCHEMA = 1
"""Version of the JSON report. It changes when a field is removed or gets another meaning."""
GO = "go"


@frozen(kw_only=True)
class RowResult:
    """A row and its samples."""

    row: Row
    measured: Summary
    """In the unit of the row."""
    relative: Summary | None
    """Divided by the row's calibration, if it has one."""
    peers: Mapping[str, Summary]
    """Figures of other task queues, in the unit of the row."""

    @property
    def result(self) -> Summary:
        """What is compared with floor and goal."""
        return self.relative or self.measured

    @property
    def verdict(self) -> RowVerdict:
        """The verdict on the median. With Go in the same run it must also be as fast as the row demands."""
        row = self.row
        plain = verdict(self.result.median, row.better, row.floor, row.goal)
        if row.go_floor is None or GO not in self.peers:
            return plain
        beside_go = verdict(
            self.measured.median / self.peers[GO].median, Better.HIGHER, row.go_floor, row.go_goal
        )
        order = [RowVerdict.MISSED, RowVerdict.FLOOR, RowVerdict.GOAL]
        return min(plain, beside_go, key=order.index)


@frozen(kw_only=True)
class Report:
    """The results of a run, with the facts about it."""

    facts: Mapping[str, Any]
    """The machine, the versions, the options of the run."""
    calibrations: Mapping[str, tuple[str, Summary]]
    """Title and samples of each calibration, by its name."""
    results: Sequence[RowResult]
    peers: Sequence[MeasuredSystem]
    unmeasured: Mapping[str, str]
    """Rows and other task queues that were left out, with the reason."""

    @property
    def missed(self) -> list[RowResult]:
        """The rows whose floor was missed."""
        return [result for result in self.results if result.verdict is RowVerdict.MISSED]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON data. The page docs/performance.md describes it."""
        return {
            "schema": SCHEMA,
            **self.facts,
            "calibrations": {
                name: {"title": title, **_numbers(summary)}
                for name, (title, summary) in self.calibrations.items()
            },
            "rows": [_row_json(result) for result in self.results],
            "systems": {
                system.name: {"version": system.version, "options": system.options}
                for system in (OURS, *self.peers)
            },
            "unmeasured": dict(self.unmeasured),
        }


def _row_json(result: RowResult) -> dict[str, Any]:
    row = result.row
    return {
        "name": row.name,
        "title": row.title,
        "unit": row.unit,
        "better": row.better.value,
        "calibration": row.calibration,
        "floor": row.floor,
        "goal": row.goal,
        "go_floor": row.go_floor,
        "go_goal": row.go_goal,
        "verdict": result.verdict.value,
        "measured": _numbers(result.measured),
        "relative": None if result.relative is None else _numbers(result.relative),
        "peers": {name: _numbers(summary) for name, summary in result.peers.items()},
    }


def _numbers(summary: Summary) -> dict[str, Any]:
    return {
        "median": _rounded(summary.median),
        "min": _rounded(summary.lowest),
        "max": _rounded(summary.highest),
        "samples": [_rounded(sample) for sample in summary.samples],
    }


def _rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def row_results(rows: Sequence[Row], results: Measurements) -> list[RowResult]:
    """Assign the samples of a run to its rows."""

    def figures(system: str, row: Row) -> Summary:
        return Summary(tuple(sample.figures[row.figure] for sample in results.samples[system, row.scenario]))

    found = []
    for row in rows:
        name = row.calibration
        samples = results.samples[OURS.name, row.scenario]
        relative = None
        if name is not None:
            relative = Summary(tuple(one.figures[row.figure] / one.calibrations[name] for one in samples))
        found.append(
            RowResult(
                row=row,
                measured=figures(OURS.name, row),
                relative=relative,
                peers={
                    system: figures(system, row)
                    for system, scenario in results.samples
                    if scenario == row.scenario and system != OURS.name
                },
            )
        )
    return found
