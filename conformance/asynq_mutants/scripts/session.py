"""A run: pytest collects the tests, then this takes over."""

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
    """What to try, and what came of it."""

    choose: Callable[[list[Mutation]], Sequence[Mutation]]
    """Of all mutants those to try."""
    slots: int
    budget: float = 1e9
    """Seconds after which no other mutant is begun."""
    quiet: bool = False
    sources: dict[str, str] = field(factory=read_sources)
    all: list[Mutation] = field(init=False)
    results: list[Result] = field(factory=list)
    complete: bool = False
    """False where the time was over before all that was chosen was tried."""
    failing: list[str] = field(factory=list)
    """Tests that fail without any mutant."""
    _began: float = field(factory=time.monotonic)
    _told: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.all = [found for file, source in self.sources.items() for found in mutations(file, source)]

    def run(self) -> None:
        """Collect, trace, hunt."""
        without = [
            word
            for name in ("randomly", "cacheprovider", "xdist", "asynq_conformance")
            for word in ("-p", f"no:{name}")
        ]
        rewriting = ["--assert=plain", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        # The options every run has are for plugins that this one is without.
        arguments = ["-qq", "-s", "-o", "addopts=", *rewriting, *without, *tests_of.PATHS]
        status = pytest.main(arguments, plugins=[self])
        if status != pytest.ExitCode.OK:
            raise RuntimeError(f"pytest ended with {status!r}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what takes long."""
        items[:] = [item for item in items if tests_of.wanted(item)]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of running the tests once."""
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
        self.say(f"{len(chosen)} of {len(self.all)} mutants are tried")
        hunt = Hunt(chosen, self.sources, measured, compiler, lambda result: self._tell(result, len(chosen)))
        self.results = hunt.results
        self.complete = run_all(hunt.trials(), slots, self._began + self.budget)

    def _tell(self, result: Result, total: int) -> None:
        if result.outcome in ("survived", "reached by no test"):
            before, after = result.mutation.shown(self.sources[result.mutation.file])
            line = result.mutation.line(self.sources[result.mutation.file])
            self.say(f"{result.outcome}: {result.mutation.file}:{line} {before}  ->  {after}")
        if time.monotonic() - self._told > 10:
            self._told = time.monotonic()
            killed = sum(found.outcome == "killed" for found in self.results)
            self.say(f"{len(self.results)} of {total}: {killed} killed")

    def say(self, text: str) -> None:
        """Print a line with the time that has gone by."""
        if not self.quiet:
            sys.stdout.write(f"{time.monotonic() - self._began:7.1f} s  {text}\n")
            sys.stdout.flush()


def _warm_up(items: Sequence[pytest.Item], slot: Slot) -> None:
    """Run a test of each module here, so that no child has to import or compile anything."""
    with mock.patch.dict(os.environ, {OVERRIDE: slot.server.url}):
        for item in {item.path: item for item in items}.values():
            tests_of.run_test(item, None)
