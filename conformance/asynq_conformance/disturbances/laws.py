"""What is promised while clients, servers and networks fail, judged from what was recorded meanwhile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from asynq.clock import FakeClock
from asynq_conformance import evidence, profiles
from asynq_conformance.disturbances.clients import CLIENT_DISTURBANCES
from asynq_conformance.disturbances.disturbance import disturbed
from asynq_conformance.disturbances.judge import judge
from asynq_conformance.histories.excerpt import draw
from asynq_conformance.histories.laws import source_of
from asynq_conformance.histories.plan import Plan
from asynq_conformance.lab import START
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asynq_conformance.disturbances.disturbance import Disturbance
    from asynq_conformance.harness import Harness
    from asynq_conformance.promises import Layer

DISTURBED_PLAN = Plan(processes=2, callers=6, tasks=100_000, seconds=100.0, lease=2000, patience=40.0)
"""Until the disturbance is over and work goes on; the numbers are only there to end what went wrong."""


class DisturbanceLaws:
    """Gives every disturbance a recorded run of its own."""

    layer: ClassVar[Layer] = "D"
    disturbances: ClassVar[Mapping[str, Any]] = CLIENT_DISTURBANCES
    """By name: a Disturbance, or what makes one of the harness. A backend adds those of its store:
    `disturbances = {**CLIENT_DISTURBANCES, "the server is killed": ...}`."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test a disturbance, as often as the profile says."""
        if "disturbance" in metafunc.fixturenames:
            times = range(profiles.current().disturbances)
            named = [(name, made, number) for name, made in self.disturbances.items() for number in times]
            ids = [f"{name} ({number + 1})" if number else name for name, _, number in named]
            metafunc.parametrize(
                ("disturbance", "repetition"), [(made, number) for _, made, number in named], ids=ids
            )

    @promise("G1", "G2", "G3", "G4", "G8", "G9", "G11")
    @pytest.mark.timeout(240)
    def test_work_goes_on_and_what_was_promised_holds(
        self,
        harness: Harness,
        disturbance: Disturbance | Callable[[Harness], Disturbance],
        repetition: int,
        tmp_path: Path,
        record_property: Callable[[str, object], None],
    ) -> None:
        """Each queue flows again in time; the record of it all violates nothing."""
        harness.open(FakeClock(START)).close()  # so that the store is there, and empty
        source = source_of(harness)
        done = disturbance(harness) if callable(disturbance) else disturbance
        seed = (profiles.seed() or 0) + repetition
        plan = attrs.evolve(DISTURBED_PLAN, seed=seed, rest=profiles.current().rest)
        outcome = disturbed(source, plan, tmp_path, done)
        verdict = judge(outcome, may_lose=done.may_lose, may_undo=done.may_undo)
        evidence.count(**verdict.counts)
        for name, figure in verdict.figures.items():
            record_property(name, figure)
            sys.stdout.write(f"{name}: {figure}\n")
        if done.may_lose:
            evidence.weaker(
                "what was acknowledged while the disturbance was at work may be lost; nothing else was"
            )
        if verdict.report.violations:
            draw(outcome.record, verdict.report.violations)
        if verdict.failures:
            pytest.fail(f"{verdict.report}\nthe record: {outcome.record}")
        assert outcome.slowest < done.heals_within
