"""Tests one bug on one layer of the suite: what catches it, and with how much effort."""

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
from asynq_conformance.laws.sequence_moves import REMOVALS
from asynq_conformance.laws.sequences import ENDS, STAYS
from asynq_conformance.laws.settle import SETTLEMENTS
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_conformance.machine.directed import DIRECTED, directed_programs
from asynq_conformance.machine.run import machine_session, run_random
from asynq_mutants.harness import broken_harness, mended
from asynq_mutants.kills import KILLED, SURVIVED, LayerResult
from asynq_mutants.patches import run_with

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from asynq_conformance.histories.checkers.verdict import Violation
    from asynq_conformance.machine.base import MachineSession
    from asynq_mutants.defects import Broken, Defect
    from asynq_mutants.patches import Patch

CATCHES: Final = (AssertionError, AsynqError, ValueError, pytest.fail.Exception)
"""Exceptions that mean that a law is broken."""
FIRST_PROGRAMS: Final = 20
"""Number of random programs before the fixed ones: most bugs need fewer."""
RUNS: Final = 5
"""Histories depend on chance; one run finds nearly all bugs."""
TRIAL_PLAN: Final = Plan(processes=2, queues={"high": 2, "low": 1}, seconds=2, patience=15)
_NAMED: Final[Mapping[str, Mapping[str, Any]]] = {
    "settle": {**SETTLEMENTS},
    "unique": {"until done": UNTIL_DONE},
    "end": {**ENDS},
    "stay": {**STAYS},
    "remove": {**REMOVALS},
}
"""Parameters without a short notation."""


# --- layer A ----------------------------------------------------------------------------------------------


def hold(defect: Defect, broken: Broken | None, folder: Path) -> None:
    """Run the law of this defect on a broker.

    Raises one of CATCHES if the law is broken, LookupError if the broker lacks what the law is about.
    """
    parameters = {
        # Laws share names of parameters: the value of another law may be its own notation.
        name: _NAMED[name].get(value, value) if name in _NAMED else value
        for name, value in defect.parameters.items()
    }
    path = folder / "tasks.db" if defect.on_file else None
    with ExitStack() as stack:
        lab = Lab(stack.enter_context(broken_harness(broken, path)), "plain")
        stack.callback(lab.close)
        try:
            getattr(BrokerConformance(), defect.law)(lab, **parameters)
        except pytest.skip.Exception as skipped:
            raise LookupError(f"{defect.law} is skipped: {skipped}") from None


def hold_laws(defects: Sequence[Defect], folder: Path) -> LayerResult:
    """Run the laws that name a defect, one after the other."""
    for defect in defects:
        try:
            hold(defect, defect.broken, folder)
        except CATCHES:
            return LayerResult(status=KILLED, by=defect.law, of="a law")
    return LayerResult(status=SURVIVED)


# --- layer B ----------------------------------------------------------------------------------------------


def run_programs(broken: Broken | None) -> LayerResult:
    """Run the programs of the profile in lockstep with the model.

    The first random programs run first, then the fixed programs, then the remaining random ones.
    """
    with broken_harness(broken) as harness:
        profile = profiles.current()
        for most in (FIRST_PROGRAMS, profile.examples):
            with machine_session(harness) as session:
                if number := _random(session, profile, most):
                    return LayerResult(
                        status=KILLED, by=f"random program {number}", tried=number, of="programs"
                    )
            with machine_session(harness) as session:
                if program := _directed(session):
                    name = program.strip("_").replace("_", " ")
                    return LayerResult(
                        status=KILLED, by=f"the directed program `{name}`", of="a directed program"
                    )
    return LayerResult(status=SURVIVED)


def _random(session: MachineSession, profile: profiles.Profile, most: int) -> int | None:
    """Number of the random program that caught it."""
    try:
        run_random(session, profile.examples, profile.steps, shrink=False, most=most)
    except Exception:  # noqa: BLE001 - a broken broker fails in whichever way
        return session.failed_at
    return None


def _directed(session: MachineSession) -> str:
    """Name of the fixed program that caught it."""
    through = 0
    try:
        for _ in directed_programs(session):
            through += 1
    except Exception:  # noqa: BLE001 - as above
        return DIRECTED[through].__name__
    return ""


# --- layer C ----------------------------------------------------------------------------------------------


def of_defect(name: str | None) -> Source:
    """How processes open a broker with this defect, or a correct one. They receive the path."""
    return Source(factory="asynq_mutants.harness:open_broken", kwargs={"defect": name})


def of_saboteur(name: str) -> Source:
    """How processes open a saboteur. They receive the path."""
    return Source(factory="asynq_mutants.concurrent:open_broker", kwargs={"saboteur": name})


def record_histories(
    source: Source, folder: Path, rules: Collection[str] = (), plan: Mapping[str, Any] | None = None
) -> LayerResult:
    """Record runs until one of the rules is violated; any rule if none is named."""
    made = 0
    for seed in range(RUNS):
        directory = folder / str(seed)
        directory.mkdir()
        at = evolve(source, kwargs={**source.kwargs, "path": str(directory / "tasks.db")})
        try:
            with mended():  # the store is drained by a broker of this process
                record = recorded(at, evolve(TRIAL_PLAN, seed=seed, **(plan or {})), directory / "run")
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
    """Number of tasks requested when the last call of the violation started; None: all."""
    calls = violation.calls if violation else ()
    end = max((call.invoked for call in calls), default=float("inf"))
    return sum(call.invoked <= end for asked in history.enqueues.values() for call in asked)


# --- patches of production code ---------------------------------------------------------------------------


def run_test(patch: Patch, test: str) -> LayerResult:
    """Run a test with the patch. It must fail."""
    if lacking := patch.lacks_a_server():
        return LayerResult(by=lacking)
    ended = run_with(patch.bug, test)
    if ended.returncode == pytest.ExitCode.TESTS_FAILED:
        return LayerResult(status=KILLED, by=test.rpartition("::")[2], of="a test")
    if "skipped" in ended.stdout and "passed" not in ended.stdout:
        return LayerResult(by="its test is skipped here")
    return LayerResult(status=SURVIVED)


def timed(trial: Any, *arguments: Any) -> LayerResult:
    """The result, with its duration."""
    began = time.monotonic()
    result: LayerResult = trial(*arguments)
    return evolve(result, seconds=round(time.monotonic() - began, 2))
