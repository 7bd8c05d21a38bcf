"""A load under which a store once broke a rule, put on it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from asynq.clock import FakeClock
from asynq_conformance.histories.checking import check_file
from asynq_conformance.histories.laws import source_of
from asynq_conformance.histories.run import recorded
from asynq_conformance.lab import START

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_conformance.harness import Harness
    from asynq_conformance.histories.plan import Plan

RUNS: Final = 3
"""The seed fixes who asks for what, and not what meets what: one run may miss it."""


def record_again(harness: Harness, plan: Plan, rule: str, directory: Path) -> None:
    """Record runs by this plan; AssertionError for the first that breaks the rule."""
    for number in range(RUNS):
        broker = harness.renew(FakeClock(START))  # so that the store is there, and empty
        broker.close()
        again = evolve(plan, seed=plan.seed + number)
        record = recorded(source_of(harness), again, directory / str(number))
        report = check_file(record)
        assert not report.verdicts[rule].violations, report.of_one(rule)
