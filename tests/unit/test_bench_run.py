"""How `asynq bench` calibrates, repeats and records, without any process."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from asynq.bench.errors import BenchError
from asynq.bench.report import Report, row_results
from asynq.bench.row import Row
from asynq.bench.run import MeasurementPlan
from asynq.bench.stores.store import Calibration, StoreUsage
from asynq.bench.summary import Better, Summary
from asynq.bench.svg import chart
from asynq.bench.system import OURS, MeasuredSystem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.bench.trial import Trial


class Counted:
    """A store whose calibrations yield 1, 2, 3 and so on."""

    url = "redis://counted"

    def __init__(self) -> None:
        values = count(1)
        self.calibrations: Mapping[str, Calibration] = {
            "K": Calibration("K", "counted", lambda: float(next(values)))
        }

    def reset(self) -> None: ...
    def usage(self) -> StoreUsage:
        return StoreUsage()

    def describe(self) -> dict[str, str]:
        return {}

    def close(self) -> None: ...


class Seen:
    """What is measured, in order."""

    def __init__(self) -> None:
        self.updates: list[str] = []

    def update(self, done: int, total: int, what: str) -> None:
        self.updates.append(f"{done}/{total} {what}".strip())


@frozen(kw_only=True)
class Given:
    """Yields a rate by the name of the system. A system without one fails."""

    rates: tuple[tuple[str, float], ...]
    store: str = "redis"
    mode: str | None = "fill"
    costly: bool = False

    def measure(self, trial: Trial) -> dict[str, float]:
        rates = dict(self.rates)
        if trial.system.name not in rates:
            raise BenchError(f"{trial.system.name} is broken")
        return {"rate": rates[trial.system.name]}


def peer(name: str, *modes: str) -> MeasuredSystem:
    return MeasuredSystem(
        name=name, version="1", options="", modes=frozenset(modes), produce=(), work=lambda _: ()
    )


def row(name: str, scenario: Given, calibration: str | None = "K") -> Row:
    return Row(
        name=name,
        title=f"<{name}>",
        unit="tasks/s",
        better=Better.HIGHER,
        scenario=scenario,
        figure="rate",
        calibration=calibration,
        floor=10.0,
        goal=20.0,
    )


def plan(*rows: Row, peers: tuple[MeasuredSystem, ...] = (), repetitions: int = 1) -> MeasurementPlan:
    return MeasurementPlan(
        rows=rows,
        stores={"redis": Counted(), "sqlite": Counted()},
        peers=peers,
        repetitions=repetitions,
        quick=False,
        scratch=Path(),
    )


OURS_ONLY = Given(rates=((OURS.name, 30.0),))
BOTH = Given(rates=((OURS.name, 30.0), ("go", 15.0)))


def test_each_measurement_is_divided_by_the_calibrations_around_it() -> None:
    rows = [row("one", OURS_ONLY)]
    results = plan(*rows, repetitions=2).run(Seen())
    assert results.calibrations["K"] == [1.0, 2.0, 3.0, 4.0]
    (found,) = row_results(rows, results)
    assert found.measured == Summary((30.0, 30.0))
    assert found.relative == Summary((30 / 1.5, 30 / 3.5))


def test_repetitions_go_through_all_rows_and_costly_ones_are_measured_in_one_of_three() -> None:
    seen = Seen()
    plan(row("cheap", OURS_ONLY), row("costly", evolve(OURS_ONLY, costly=True)), repetitions=4).run(seen)
    names = [update.partition(" ")[2] for update in seen.updates]
    assert names == ["cheap", "costly", "cheap", "cheap", "cheap", "costly", ""]
    assert seen.updates[-1] == "6/6"


def test_rows_of_one_scenario_share_its_measurements() -> None:
    seen = Seen()
    plan(row("rate", OURS_ONLY), row("again", OURS_ONLY, calibration=None)).run(seen)
    assert seen.updates == ["0/1 rate, again", "1/1"]


def test_a_system_is_measured_in_scenarios_whose_mode_it_has() -> None:
    rows = [row("fill", BOTH), row("now", evolve(BOTH, mode="now")), row("ours", evolve(BOTH, mode=None))]
    results = plan(*rows, peers=(peer("go", "fill"),)).run(Seen())
    assert [set(found.peers) for found in row_results(rows, results)] == [{"go"}, set(), set()]


def test_other_systems_are_measured_on_redis_only() -> None:
    rows = [row("file", evolve(BOTH, store="sqlite"))]
    results = plan(*rows, peers=(peer("go", "fill"),)).run(Seen())
    assert row_results(rows, results)[0].peers == {}
    assert results.failures == {}


def test_a_peer_that_fails_is_recorded_and_not_tried_again() -> None:
    rows = [row("one", BOTH)]
    results = plan(*rows, peers=(peer("broken", "fill"), peer("go", "fill")), repetitions=2).run(Seen())
    assert results.failures == {("broken", BOTH): "broken is broken"}
    (found,) = row_results(rows, results)
    assert {name: summary.samples for name, summary in found.peers.items()} == {"go": (15.0, 15.0)}


def test_the_chart_has_a_bar_for_each_system_and_marks_in_the_unit_of_the_row() -> None:
    rows = [row("one", BOTH), evolve(row("hidden", OURS_ONLY), floor=None, goal=None)]
    results = plan(*rows, peers=(peer("go", "fill"),)).run(Seen())
    drawn = chart(
        Report(facts={}, calibrations={}, results=row_results(rows, results), peers=(), unmeasured={})
    )
    assert "&lt;one&gt;" in drawn
    assert "hidden" not in drawn
    assert drawn.count("<rect ") == 2
    # 30 tasks a second are 20 K, so the goal of 20 K is where our bar ends.
    end = drawn.partition('<rect class="ours" x="110"')[2].partition('width="')[2].partition('"')[0]
    assert f'<line class="goal" x1="{110 + float(end):.1f}"' in drawn
