"""One measurement: its system and store, and the processes that take part."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from asynq.bench.children import Child
from asynq.bench.reports import Reports
from asynq.supervisor.command import BROKER_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from asynq.bench.stores.store import MeasuredStore
    from asynq.bench.system import MeasuredSystem, WorkerOptions

QUICK = 20
"""How many times fewer tasks a quick run has."""
_numbers = count()


class Scenario(Protocol):
    """What is measured. A frozen class: rows with an equal scenario share its measurements."""

    @property
    def store(self) -> str:
        """Name of the store that it needs: redis or sqlite; empty if it needs none."""
        ...

    @property
    def mode(self) -> str | None:
        """Mode of the producer that another task queue needs for it. None: it is for this library only."""
        ...

    @property
    def costly(self) -> bool:
        """Whether it takes so long that it is measured only in some repetitions."""
        ...

    def measure(self, trial: Trial) -> Mapping[str, float]:
        """Measure once. Returns figures by name.

        Raises:
            BenchError: the measurement failed.
        """
        ...


@frozen
class RunningWorker:
    """A running worker and its reports."""

    child: Child
    reports: Reports


@frozen(kw_only=True)
class Trial:
    """What a scenario measures with."""

    system: MeasuredSystem
    place: MeasuredStore | None
    """The store, if the scenario needs one."""
    scratch: Path
    """A directory for logs and pipes."""
    quick: bool

    @property
    def store(self) -> MeasuredStore:
        """The store of a scenario that needs one."""
        assert self.place is not None  # noqa: S101 - the scenario names its store
        return self.place

    def tasks(self, number: int) -> int:
        """The number of tasks to use instead of `number`."""
        return max(number // (QUICK if self.quick else self.system.fewer), 100)

    @contextmanager
    def producer(self) -> Iterator[Child]:
        """A producer that is ready for requests."""
        with self._child("producer", self.system.produce, {}, answers=True) as child:
            child.answer()
            yield child

    @contextmanager
    def worker(self, options: WorkerOptions, marks: Sequence[int] = ()) -> Iterator[RunningWorker]:
        """A worker that may still be starting."""
        with Reports(self.scratch / f"reports-{next(_numbers)}") as reports:
            env = {
                "ASYNQ_BENCH_REPORT": str(reports.path),
                "ASYNQ_BENCH_MARKS": " ".join(map(str, marks)),
            }
            with self._child("worker", self.system.work(options), env) as child:
                yield RunningWorker(child, reports)

    def _child(
        self, role: str, command: Sequence[str], env: Mapping[str, str], *, answers: bool = False
    ) -> Child:
        name = f"{self.system.name} {role}"
        url = {"ASYNQ_BENCH_BROKER": self.store.url, BROKER_VARIABLE: self.store.url}
        log = self.scratch / f"{role}-{next(_numbers)}.log"
        return Child(name, command, log=log, env={**self.system.env, **url, **env}, answers=answers)
