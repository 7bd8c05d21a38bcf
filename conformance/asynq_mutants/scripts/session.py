"""A run: pytest collects the tests, then this plugin runs them on the mutants."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from attrs import define, field

from asynq_mutants.scripts import tests as tests_of
from asynq_mutants.scripts.forks import OVERRIDE, Slot, run_all
from asynq_mutants.scripts.operators import mutations
from asynq_mutants.scripts.sources import read_sources, traced
from asynq_mutants.scripts.trial import Hunt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_mutants.scripts.operators import Mutation
    from asynq_mutants.scripts.trial import Result
    from tests.servers import RedisServer


@define
class MutationSession:
    """Configuration and results of a run."""

    choose: Callable[[list[Mutation]], Sequence[Mutation]]
    """Selects the mutants to test."""
    slots: int
    budget: float = 1e9
    """Seconds, counted from the end of tracing, after which no further mutant is started."""
    quiet: bool = False
    sources: dict[str, str] = field(factory=read_sources)
    all: list[Mutation] = field(init=False)
    results: list[Result] = field(factory=list)
    complete: bool = False
    """False if the time ended before all selected mutants were tested."""
    failing: list[str] = field(factory=list)
    """Tests that fail without a mutant."""
    _began: float = field(factory=time.monotonic)
    _told: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.all = [found for file, source in self.sources.items() for found in mutations(file, source)]

    def run(self) -> None:
        """Collect the tests, trace the statements they reach, and test the mutants."""
        without = [
            word
            for name in ("randomly", "cacheprovider", "xdist", "asynq_conformance")
            for word in ("-p", f"no:{name}")
        ]
        rewriting = ["--assert=plain", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        # The configured options belong to plugins that are disabled here.
        arguments = ["-qq", "-s", "-o", "addopts=", *rewriting, *without, *tests_of.PATHS]
        status = pytest.main(arguments, plugins=[self])
        if status != pytest.ExitCode.OK:
            raise RuntimeError(f"pytest ended with {status!r}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Deselect slow tests."""
        items[:] = [item for item in items if tests_of.wanted(item)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs instead of the usual loop over the tests."""
        from tests.servers import RedisServer

        slots = [Slot(RedisServer.start()) for _ in range(self.slots)]
        try:
            for slot in slots:
                slot.restart()
            _warm_up(session.items, slots[0])
            measured = self._measured(session.items, slots)
            for slot in slots:
                slot.restart()
            with RedisServer.start() as compiler:
                self._hunt(measured, slots, compiler)
        finally:
            for slot in slots:
                slot.close()
        return True

    def _measured(self, items: Sequence[pytest.Item], slots: list[Slot]) -> list[tests_of.Measured]:
        found = [tests_of.Measured(place, item) for place, item in enumerate(items)]
        run_all(tests_of.portions(found, traced(self.sources)), slots, float("inf"))
        self.failing = [test.item.nodeid for test in found if not test.passes]
        self.say(f"{len(found)} tests traced, {len(self.failing)} fail: {self.failing[:5]}")
        return [test for test in found if test.passes]

    def _hunt(self, measured: list[tests_of.Measured], slots: list[Slot], compiler: RedisServer) -> None:
        chosen = self.choose(self.all)
        self.say(f"{len(chosen)} of {len(self.all)} mutants are selected")
        hunt = Hunt(chosen, self.sources, measured, compiler, lambda result: self._tell(result, len(chosen)))
        self.results = hunt.results
        self.complete = run_all(hunt.trials(), slots, time.monotonic() + self.budget)

    def _tell(self, result: Result, total: int) -> None:
        if result.outcome in ("survived", "not reached by any test"):
            before, after = result.mutation.shown(self.sources[result.mutation.file])
            line = result.mutation.line(self.sources[result.mutation.file])
            self.say(f"{result.outcome}: {result.mutation.file}:{line} {before}  ->  {after}")
        if time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            killed = sum(found.outcome == "killed" for found in self.results)
            self.say(f"{len(self.results)} of {total}: {killed} killed")

    def say(self, text: str) -> None:
        """Print a line with the elapsed time."""
        if not self.quiet:
            sys.stdout.write(f"{time.monotonic() - self._began:7.1f} s  {text}\n")
            sys.stdout.flush()


def _warm_up(items: Sequence[pytest.Item], slot: Slot) -> None:
    """Run one test of each module in this process, so that no child has to import or compile anything."""
    with mock.patch.dict(os.environ, {OVERRIDE: slot.server.url}):
        for item in {item.path: item for item in items}.values():
            tests_of.run_test(item, None)
