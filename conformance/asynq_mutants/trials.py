"""Trying one bug on one layer of the suite: what catches it, and how much that takes."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest
from attrs import evolve

from asynq.errors import AsynqError
from asynq_conformance import BrokerConformance, profiles
from asynq_conformance.histories.checking import CHECKERS, check
from asynq_conformance.histories.history import History
from asynq_conformance.histories.plan import Plan, Source
from asynq_conformance.histories.run import RunError, recorded
from asynq_conformance.lab import Lab
from asynq_conformance.laws.settle import SETTLEMENTS
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_conformance.machine.run import bench_of, leave_to_chance
from asynq_conformance.machine.tour import LEGS, programs
from asynq_mutants.harness import broken_harness, mended
from asynq_mutants.kills import KILLED, SURVIVED, LayerResult
from asynq_mutants.patches import run_with

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from asynq_conformance.histories.checkers.verdict import Violation
    from asynq_conformance.machine.base import Bench
    from asynq_mutants.defects import Broken, Defect
    from asynq_mutants.patches import Patch

CATCHES: Final = (AssertionError, AsynqError, ValueError, pytest.fail.Exception)
"""What a law says of a broker that breaks it."""
FIRST: Final = 20
"""Random programs before the led ones are tried: most bugs need fewer."""
RUNS: Final = 5
"""Chance decides what meets what in a history; one run finds nearly all."""
PLAN: Final = Plan(processes=2, queues={"high": 2, "low": 1}, seconds=2, patience=15)
_NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "settle": {**SETTLEMENTS},
    "unique": {"until done": UNTIL_DONE},
}
"""Parameters that have no short spelling of their own."""


# --- layer A ----------------------------------------------------------------------------------------------


def hold(defect: Defect, broken: Broken | None, folder: Path) -> None:
    """Hold a broker against the law of this defect; it raises one of CATCHES if the law is broken."""
    parameters = {
        name: _NAMED[name][value] if name in _NAMED else value for name, value in defect.parameters.items()
    }
    path = folder / "tasks.db" if defect.on_file else None
    with ExitStack() as stack:
        lab = Lab(stack.enter_context(broken_harness(broken, path)), "plain")
        stack.callback(lab.close)
        getattr(BrokerConformance(), defect.law)(lab, **parameters)


def hold_laws(defects: Sequence[Defect], folder: Path) -> LayerResult:
    """Hold a defect against the laws that name it, one after the other."""
    for defect in defects:
        try:
            hold(defect, defect.broken, folder)
        except CATCHES:
            return LayerResult(status=KILLED, by=defect.law, of="a law")
    return LayerResult(status=SURVIVED)


# --- layer B ----------------------------------------------------------------------------------------------


def run_programs(broken: Broken | None) -> LayerResult:
    """Run the programs of the profile beside the model, the random ones as in any run of the suite.

    What the first of them do not find is left to the led ones, and only what these do not find to the others.
    """
    with broken_harness(broken) as harness:
        profile = profiles.current()
        for most in (FIRST, profile.examples):
            with bench_of(harness) as bench:
                if number := _chance(bench, profile, most):
                    return LayerResult(
                        status=KILLED, by=f"random program {number}", tried=number, of="programs"
                    )
            with bench_of(harness) as bench:
                if leg := _led(bench):
                    name = leg.strip("_").replace("_", " ")
                    return LayerResult(status=KILLED, by=f"the led program `{name}`", of="a led program")
    return LayerResult(status=SURVIVED)


def _chance(bench: Bench, profile: profiles.Profile, most: int) -> int | None:
    """Which random program caught it."""
    try:
        leave_to_chance(bench, profile.examples, profile.steps, shrink=False, most=most)
    except Exception:  # noqa: BLE001 - a broken broker fails in whichever way
        return bench.failed_at
    return None


def _led(bench: Bench) -> str:
    """Which led program caught it."""
    through = 0
    try:
        for _ in programs(bench):
            through += 1
    except Exception:  # noqa: BLE001 - as above
        return LEGS[through].__name__
    return ""


# --- layer C ----------------------------------------------------------------------------------------------


def of_defect(name: str | None) -> Source:
    """How processes open a broker with this defect, or an honest one; they are told the path."""
    return Source(factory="asynq_mutants.harness:open_broken", kwargs={"defect": name})


def of_saboteur(name: str) -> Source:
    """The same for one that only concurrency shows."""
    return Source(factory="asynq_mutants.concurrent:open_broker", kwargs={"saboteur": name})


def record_histories(
    source: Source, folder: Path, rules: Collection[str] = (), plan: Mapping[str, Any] | None = None
) -> LayerResult:
    """Record runs until one of the rules, any if none is named, is seen to be broken."""
    made = 0
    for seed in range(RUNS):
        directory = folder / str(seed)
        directory.mkdir()
        at = evolve(source, kwargs={**source.kwargs, "path": str(directory / "tasks.db")})
        try:
            with mended():  # what drains the store is a broker of this process
                record = recorded(at, evolve(PLAN, seed=seed, **(plan or {})), directory / "run")
        except (RunError, AsynqError) as error:
            return LayerResult(
                status=KILLED, by=f"the load fails: {str(error).splitlines()[-1]}", of="a load that fails"
            )
        history = History.load(record)
        report = check(history, checkers=[one for one in CHECKERS if not rules or one.name in rules])
        for name, verdict in report.verdicts.items():
            if verdict.violations:
                until = made + min(_tasks_until(history, found) for found in verdict.violations)
                return LayerResult(status=KILLED, by=name, tried=until, of="tasks")
        made += _tasks_until(history, None)
    return LayerResult(status=SURVIVED)


def _tasks_until(history: History, violation: Violation | None) -> int:
    """How many tasks had been asked for when the last of the calls began that show it; None: all."""
    calls = violation.calls if violation else ()
    end = max((call.invoked for call in calls), default=float("inf"))
    return sum(call.invoked <= end for asked in history.enqueues.values() for call in asked)


# --- patches of production code ---------------------------------------------------------------------------


def run_test(patch: Patch, test: str) -> LayerResult:
    """Run a test with the patch; it must fail."""
    if lacking := patch.lacks_a_server():
        return LayerResult(by=lacking)
    ended = run_with(patch.bug, test)
    if ended.returncode == pytest.ExitCode.TESTS_FAILED:
        return LayerResult(status=KILLED, by=test.rpartition("::")[2], of="a test")
    if "skipped" in ended.stdout and "passed" not in ended.stdout:
        return LayerResult(by="its test is skipped here")
    return LayerResult(status=SURVIVED)


def timed(trial: Any, *arguments: Any) -> LayerResult:
    """What came of it, with how long it took."""
    began = time.monotonic()
    result: LayerResult = trial(*arguments)
    return evolve(result, seconds=round(time.monotonic() - began, 2))
