"""A whole benchmark: starts the stores, measures the rows, and reports."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.errors import BenchError
from asynq.bench.interpreter import P1, TITLE, interpreter_speed
from asynq.bench.machine import machine_facts
from asynq.bench.report import Report, row_results
from asynq.bench.run import MeasurementPlan
from asynq.bench.stores.redis import RedisStore
from asynq.bench.stores.sqlite import IN_MEMORY, ON_DISK, SQLiteStore, memory_directory
from asynq.bench.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.bench.peers.peer import Peer
    from asynq.bench.row import Row
    from asynq.bench.run import BenchProgress
    from asynq.bench.stores.store import MeasuredStore
    from asynq.bench.system import MeasuredSystem


@frozen(kw_only=True)
class Benchmark:
    """What to measure, and where."""

    rows: Sequence[Row]
    broker_url: str | None
    """An empty Redis database; None starts a server."""
    repetitions: int
    quick: bool
    peers: Sequence[Peer]
    """Task queues to compare with."""
    peers_directory: Path
    """Where their programs are kept."""

    def run(self, progress: BenchProgress) -> Report:
        """Measure. Everything that was started has ended when this returns or raises.

        Raises:
            BenchError: a tool is missing, the broker cannot be used, or a measurement failed.
        """
        started, clock = datetime.now(UTC), time.monotonic()
        facts = machine_facts()
        unmeasured: dict[str, str] = {}
        with ExitStack() as stack:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="asynq-bench-")))
            stores = self._stores(stack, scratch, unmeasured)
            rows = [row for row in self.rows if not row.scenario.store or row.scenario.store in stores]
            if not rows:
                raise BenchError("; ".join(unmeasured.values()))
            systems = self._systems(progress, unmeasured)
            plan = MeasurementPlan(
                rows=rows,
                stores=stores,
                peers=systems,
                repetitions=self.repetitions,
                quick=self.quick,
                scratch=scratch,
            )
            interpreter = [interpreter_speed()]
            results = plan.run(progress)
            interpreter.append(interpreter_speed())
            for (name, scenario), reason in results.failures.items():
                measures = [row.name for row in rows if row.scenario == scenario]
                unmeasured |= {f"{name}: {measure}": reason for measure in measures}
            for store in stores.values():
                facts |= store.describe()
            titles = {
                name: one.title for store in stores.values() for name, one in store.calibrations.items()
            }
        return Report(
            facts={
                "started": started.isoformat(timespec="seconds"),
                "seconds": round(time.monotonic() - clock, 1),
                "machine": facts,
                "repetitions": self.repetitions,
                "quick": self.quick,
            },
            calibrations={
                P1: (TITLE, Summary(tuple(interpreter))),
                **{
                    name: (titles[name], Summary(tuple(samples)))
                    for name, samples in results.calibrations.items()
                },
            },
            results=row_results(rows, results),
            peers=systems,
            unmeasured=unmeasured,
        )

    def _systems(self, progress: BenchProgress, unmeasured: dict[str, str]) -> list[MeasuredSystem]:
        """Install the peers. One that cannot be installed is left out."""
        systems: list[MeasuredSystem] = []
        for number, peer in enumerate(self.peers):
            progress.update(number, len(self.peers), f"preparing {peer.name}")
            try:
                systems.append(peer.prepare(self.peers_directory))
            except BenchError as error:
                unmeasured[peer.name] = str(error)
        return systems

    def _stores(
        self, stack: ExitStack, scratch: Path, unmeasured: dict[str, str]
    ) -> dict[str, MeasuredStore]:
        """Start the stores that the rows need. One that is missing leaves its rows unmeasured."""
        stores: dict[str, MeasuredStore] = {}
        if any(row.scenario.store == "redis" for row in self.rows):
            if self.broker_url is not None:
                stores["redis"] = stack.enter_context(closing(RedisStore(self.broker_url)))
            else:
                try:
                    stores["redis"] = stack.enter_context(closing(RedisStore.start(scratch)))
                except BenchError as error:
                    unmeasured["rows on Redis"] = str(error)
        for kind, parent in ((IN_MEMORY, memory_directory()), (ON_DISK, None)):
            if any(row.scenario.store == kind.store for row in self.rows):
                directory = stack.enter_context(TemporaryDirectory(prefix="asynq-bench-", dir=parent))
                stores[kind.store] = stack.enter_context(closing(SQLiteStore(Path(directory), kind)))
        return stores
