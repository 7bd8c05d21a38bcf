"""Runs the machine: programs and steps as the profile says, against one broker."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import hypothesis
from attrs import frozen
from hypothesis import HealthCheck, Phase, Verbosity
from hypothesis.errors import HypothesisWarning
from hypothesis.stateful import run_state_machine_as_test

from asynq.clock import FakeClock
from asynq_conformance import profiles
from asynq_conformance.machine.base import MachineSession
from asynq_conformance.machine.directed import directed_programs
from asynq_conformance.machine.machine import BrokerMachine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asynq_conformance.harness import Harness
    from asynq_conformance.machine.coverage import Triple


class _EnoughError(BaseException):
    """Raised after enough programs. It is not a failure, so Hypothesis must not investigate it."""


@frozen(kw_only=True)
class Ran:
    """Result of a run."""

    programs: int
    steps: int
    seconds: float
    reached: Mapping[Triple, int]
    unsupported: frozenset[str]
    """Names of the operations that the broker declares unsupported."""

    def __str__(self) -> str:
        rate = self.steps / self.seconds
        return f"{self.programs} programs, {self.steps} steps, {self.seconds:.1f} s, {rate:.0f} steps/s"


def run(harness: Harness, examples: int, steps: int, *, seed: int | None = None, shrink: bool = True) -> Ran:
    """Run programs.

    Every run uses the same programs, unless there is a seed or the profile demands new ones.

    Raises:
        DivergenceError: for the shortest program found on which the model and the broker differ.
    """
    began = time.monotonic()
    with machine_session(harness) as session:
        # Random programs first: Hypothesis shrinks the failing ones.
        run_random(session, examples, steps, seed=seed, shrink=shrink)
        for _ in directed_programs(session):
            pass
    return Ran(
        programs=len(session.steps),
        steps=sum(session.steps),
        seconds=max(time.monotonic() - began, 0.001),
        reached=session.reached,
        unsupported=session.unsupported(),
    )


@contextmanager
def machine_session(harness: Harness) -> Iterator[MachineSession]:
    """The place where programs run, within a context."""
    with asyncio.Runner() as runner:
        session = MachineSession(
            harness=harness, clock=FakeClock(), runner=runner, reached=Counter(), steps=[]
        )
        try:
            yield session
        finally:
            session.close()


def run_random(
    session: MachineSession,
    examples: int,
    steps: int,
    *,
    seed: int | None = None,
    shrink: bool = True,
    most: int | None = None,
) -> None:
    """Run random programs like `run`: the first `most` of a series of `examples` programs."""
    profile = profiles.current()
    settings = hypothesis.settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=profile.derandomized and seed is None,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        print_blob=True,
        verbosity=Verbosity.quiet,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )

    def machine() -> BrokerMachine:
        if most is not None and len(session.steps) >= most and session.failed_at is None:
            raise _EnoughError
        return BrokerMachine(session)

    factory = machine if seed is None else hypothesis.seed(seed)(machine)
    with suppress(_EnoughError), warnings.catch_warnings():
        # On Python 3.14, Hypothesis does not see that it holds its own random generator.
        warnings.filterwarnings("ignore", "It looks like `register_random`", HypothesisWarning)
        run_state_machine_as_test(factory, settings=settings)  # type: ignore[arg-type]
