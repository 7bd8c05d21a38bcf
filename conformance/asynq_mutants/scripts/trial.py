"""Tests the mutants: for each, the tests that reach the changed statement run until one fails."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

import redis
from attrs import define, field

from asynq_mutants.scripts import sources as scripts_of
from asynq_mutants.scripts.tests import run_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from asynq_mutants.scripts.forks import Message
    from asynq_mutants.scripts.operators import Mutation
    from asynq_mutants.scripts.tests import Measured
    from tests.servers import RedisServer

TrialOutcome = Literal["killed", "survived", "not reached by any test", "does not compile"]

LEAST, FACTOR = 3.0, 15.0
"""Time limit of a test: these seconds plus this multiple of its duration without a mutant."""


@define
class Result:
    """Result for a mutant."""

    mutation: Mutation
    outcome: TrialOutcome = "survived"
    by: str = ""
    """The test that failed. "time" means that it exceeded its time limit."""
    tests: int = 0
    """Number of tests that were run."""
    seconds: float = 0.0


@define
class MutationTrial:
    """A job that runs tests on one mutant, the most likely to fail first."""

    result: Result
    changed: list[Any] = field(repr=False)
    tests: Sequence[Measured] = field(repr=False)
    done: Callable[[MutationTrial], None] = field(repr=False)
    killer: Measured | None = None
    _at: int = -1
    _began: float = field(factory=time.monotonic)

    def run(self, log: str, tell: Callable[[Message], None]) -> None:
        """See `Job`."""
        del log
        scripts_of.install(self.changed)
        for at, test in enumerate(self.tests):
            tell({"at": at})
            following = self.tests[at + 1].item if at + 1 < len(self.tests) else None
            if not run_test(test.item, following):
                tell({"by": at})
                return
        tell({"survived": True})

    def hear(self, message: Message) -> float:
        """See `Job`."""
        if "at" in message:
            self._at = message["at"]
            return LEAST + FACTOR * self.tests[self._at].seconds
        if "by" in message:
            self._killed(self.tests[message["by"]])
        if "crash" in message:
            self.result.by = message["crash"]
            self._killed(self.tests[max(self._at, 0)])
        return 10.0

    def ended(self, *, in_time: bool) -> None:
        """See `Job`."""
        if not in_time and self.killer is None:
            self._killed(self.tests[max(self._at, 0)])
            self.result.by += " (time)"
        self.result.tests = self._at + 1
        self.result.seconds = time.monotonic() - self._began
        self.done(self)

    def _killed(self, test: Measured) -> None:
        self.killer = test
        self.result.outcome = "killed"
        self.result.by = test.item.nodeid


class Hunt:
    """All mutants of a run. `results` grows during the run.

    `compiler` is a server that runs no scripts, so it can always check whether a mutant compiles.
    """

    def __init__(
        self,
        chosen: Sequence[Mutation],
        sources: Mapping[str, str],
        tests: Sequence[Measured],
        compiler: RedisServer,
        tell: Callable[[Result], None],
    ) -> None:
        self.results: list[Result] = []
        self._chosen = chosen
        self._sources = sources
        self._compiler = compiler
        self._tell = tell
        self._by_statement: dict[tuple[str, int], list[Measured]] = defaultdict(list)
        for test in tests:
            for statement in test.ran:
                self._by_statement[statement].append(test)
        self._killers: dict[tuple[str, int], dict[int, Measured]] = defaultdict(dict)

    def trials(self) -> Iterator[MutationTrial]:
        """A job for each mutant that compiles and is reached by a test."""
        for mutation in self._chosen:
            result = Result(mutation)
            place = (mutation.file, mutation.statement)
            tests = self._by_statement[place]
            if not tests:
                result.outcome = "not reached by any test"
                self._take(result)
                continue
            changed = self._changed(mutation)
            if not changed:
                result.outcome = "does not compile"
                self._take(result)
                continue
            known = self._killers[place]
            rest = [test for test in tests if test.place not in known]
            rest.sort(key=lambda test: test.promise)
            yield MutationTrial(result, changed, [*reversed(known.values()), *rest], self._done)

    def _changed(self, mutation: Mutation) -> list[Any]:
        sources = {**self._sources, mutation.file: mutation.applied(self._sources[mutation.file])}
        users = scripts_of.users(mutation.file, sources)
        changed = [scripts_of.rendered(script, sources) for script in users]
        try:
            self._compiler.client.script_load(changed[0].text(flags=True))
        except redis.ResponseError as error:
            if "compiling" not in str(error):
                raise
            return []
        return changed

    def _done(self, trial: MutationTrial) -> None:
        if (killer := trial.killer) is not None:
            killer.kills += 1
            place = (trial.result.mutation.file, trial.result.mutation.statement)
            self._killers[place].pop(killer.place, None)
            self._killers[place][killer.place] = killer
        self._take(trial.result)

    def _take(self, result: Result) -> None:
        self.results.append(result)
        self._tell(result)
