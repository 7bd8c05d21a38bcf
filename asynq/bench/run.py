"""Runs the rows. Every measurement stands between two calibrations."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

from attrs import field, frozen

from asynq.bench.errors import BenchError
from asynq.bench.system import OURS
from asynq.bench.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from asynq.bench.row import Row
    from asynq.bench.stores.store import MeasuredStore
    from asynq.bench.system import MeasuredSystem
    from asynq.bench.trial import Scenario


PEERS_STORE = "redis"
"""The store that all task queues have."""
COSTLY_EVERY = 3
"""One in this many repetitions measures the costly scenarios."""


class BenchProgress(Protocol):
    """Displays the progress of a run."""

    def update(self, done: int, total: int, what: str) -> None:
        """Display how many measurements are done, and the one that starts now."""
        ...


@frozen(kw_only=True)
class Sample:
    """One measurement of a scenario: figures by name, and the calibrations around it."""

    figures: Mapping[str, float]
    calibrations: Mapping[str, float]
    """The mean of the calibration just before and of the one just after, by name."""


@frozen
class Measurements:
    """Everything that was measured."""

    samples: dict[tuple[str, Scenario], list[Sample]] = field(factory=lambda: defaultdict(list))
    """By the name of the system and the scenario."""
    calibrations: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    """Every calibration of the run, by name."""
    failures: dict[tuple[str, Scenario], str] = field(factory=dict)
    """Why a system other than ours could not be measured."""


@frozen(kw_only=True)
class MeasurementPlan:
    """What to measure."""

    rows: Sequence[Row]
    stores: Mapping[str, MeasuredStore]
    peers: Sequence[MeasuredSystem]
    repetitions: int
    quick: bool
    scratch: Path

    def run(self, progress: BenchProgress) -> Measurements:
        """Measure.

        Raises:
            BenchError: this library could not be measured. Failures of peers are only recorded.
        """
        results = Measurements()
        scenarios = list(dict.fromkeys(row.scenario for row in self.rows))
        schedule = [
            scenario
            for repetition in range(self.repetitions)
            for scenario in scenarios
            if not scenario.costly or repetition % COSTLY_EVERY == 0
        ]
        for number, scenario in enumerate(schedule):
            names = [row.name for row in self.rows if row.scenario == scenario]
            progress.update(number, len(schedule), ", ".join(names))
            self._measure(scenario, results)
        progress.update(len(schedule), len(schedule), "")
        return results

    def _measure(self, scenario: Scenario, results: Measurements) -> None:
        """Measure one scenario with every system that can do it."""
        before = self._calibrate(scenario, results)
        for system in (OURS, *self.peers):
            if not self._can_measure(system, scenario, results):
                continue
            try:
                figures = scenario.measure(self._trial(system, scenario))
            except BenchError as error:
                if system is OURS:
                    raise
                results.failures[system.name, scenario] = str(error)
                continue
            after = self._calibrate(scenario, results)
            around = {name: (before[name] + after[name]) / 2 for name in before}
            results.samples[system.name, scenario].append(Sample(figures=figures, calibrations=around))
            before = after

    @staticmethod
    def _can_measure(system: MeasuredSystem, scenario: Scenario, results: Measurements) -> bool:
        """Whether the system has what the scenario needs, and has not failed in it before."""
        if system is OURS:
            return True
        if scenario.store != PEERS_STORE or scenario.mode not in system.modes:
            return False
        return (system.name, scenario) not in results.failures

    def _calibrate(self, scenario: Scenario, results: Measurements) -> dict[str, float]:
        names = {row.calibration for row in self.rows if row.scenario == scenario and row.calibration}
        measured = {name: self.stores[scenario.store].calibrations[name].measure() for name in sorted(names)}
        for name, value in measured.items():
            results.calibrations[name].append(value)
        return measured

    def _trial(self, system: MeasuredSystem, scenario: Scenario) -> Trial:
        return Trial(
            system=system, place=self.stores.get(scenario.store), scratch=self.scratch, quick=self.quick
        )
