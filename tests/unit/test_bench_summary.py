"""The statistics and verdicts of `asynq bench`."""

from __future__ import annotations

import pytest
from attrs import evolve

from asynq.bench.report import RowResult
from asynq.bench.row import Row
from asynq.bench.rows.enqueue import EnqueueScenario
from asynq.bench.summary import Better, RowVerdict, Summary, percentile, verdict

ROW = Row(
    name="r",
    title="t",
    unit="tasks/s",
    better=Better.HIGHER,
    scenario=EnqueueScenario(mode="one", tasks=1),
    figure="rate",
    calibration="C50",
    floor=0.3,
    goal=0.45,
    go_floor=2.0,
    go_goal=3.5,
)


def test_a_summary_has_the_median_and_the_range() -> None:
    summary = Summary((3.0, 1.0, 10.0))
    assert (summary.median, summary.lowest, summary.highest) == (3.0, 1.0, 10.0)


@pytest.mark.parametrize(("percent", "expected"), [(50, 5), (99, 10), (90, 9), (100, 10), (1, 1)])
def test_a_percentile_is_a_sample(percent: float, expected: float) -> None:
    assert percentile([10, 9, 8, 7, 6, 5, 4, 3, 2, 1], percent) == expected


@pytest.mark.parametrize(
    ("better", "result", "expected"),
    [
        (Better.HIGHER, 0.29, RowVerdict.MISSED),
        (Better.HIGHER, 0.30, RowVerdict.FLOOR),
        (Better.HIGHER, 0.45, RowVerdict.GOAL),
        (Better.LOWER, 0.46, RowVerdict.MISSED),
        (Better.LOWER, 0.45, RowVerdict.FLOOR),
        (Better.LOWER, 0.30, RowVerdict.GOAL),
    ],
)
def test_a_result_meets_a_bound_that_it_equals(better: Better, result: float, expected: RowVerdict) -> None:
    floor, goal = (0.3, 0.45) if better is Better.HIGHER else (0.45, 0.3)
    assert verdict(result, better, floor, goal) is expected


def test_a_row_without_a_floor_has_no_verdict() -> None:
    assert verdict(1.0, Better.LOWER, None, None) is RowVerdict.NONE


def result_of(relative: float, go: float | None) -> RowResult:
    return RowResult(
        row=ROW,
        measured=Summary((1000.0,)),
        relative=Summary((relative,)),
        peers={} if go is None else {"go": Summary((go,))},
    )


@pytest.mark.parametrize(
    ("relative", "go", "expected"),
    [
        (0.5, None, RowVerdict.GOAL),
        (0.5, 100.0, RowVerdict.GOAL),
        (0.5, 400.0, RowVerdict.FLOOR),
        (0.5, 600.0, RowVerdict.MISSED),
        (0.1, 100.0, RowVerdict.MISSED),
        (0.3, 100.0, RowVerdict.FLOOR),
    ],
)
def test_go_counts_only_if_it_was_measured(relative: float, go: float | None, expected: RowVerdict) -> None:
    assert result_of(relative, go).verdict is expected


def test_a_row_without_a_calibration_is_judged_as_measured() -> None:
    row = evolve(ROW, calibration=None, floor=500.0, goal=2000.0, go_floor=None, go_goal=None)
    result = evolve(result_of(0.0, None), row=row, relative=None)
    assert result.result.median == 1000.0
    assert result.verdict is RowVerdict.FLOOR
