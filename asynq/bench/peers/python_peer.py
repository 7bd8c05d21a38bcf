"""Peers in Python: each has a virtual environment of its own, and a driver."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.errors import BenchError
from asynq.bench.peers.peer import DRIVERS, fingerprint, run
from asynq.bench.system import MeasuredSystem, WorkerOptions

if TYPE_CHECKING:
    from pathlib import Path

HIREDIS = "hiredis==3.5.0"
"""This library has this parser too."""


@frozen(kw_only=True)
class PythonPeer:
    """A distribution on PyPI."""

    name: str
    requirements: tuple[str, ...]
    """The first is the task queue itself."""
    modes: frozenset[str]
    options: str
    fewer: int

    def prepare(self, directory: Path) -> MeasuredSystem:
        """See `Peer`."""
        python = self._environment(directory)
        driver = str(DRIVERS / f"{self.name}_driver.py")

        def work(options: WorkerOptions) -> list[str]:
            return [str(python), driver, "work", str(options.concurrency)]

        return MeasuredSystem(
            name=self.name,
            version=self.requirements[0].partition("==")[2],
            options=self.options,
            fewer=self.fewer,
            modes=self.modes,
            produce=(str(python), driver, "produce"),
            work=work,
        )

    def _environment(self, directory: Path) -> Path:
        """Python of the environment. A half-made one is removed."""
        environment = directory / f"{self.name}-{fingerprint(sys.version, *self.requirements)}"
        python = environment / "bin" / "python"
        ready = environment / "ready"
        if not ready.exists():
            shutil.rmtree(environment, ignore_errors=True)
            environment.parent.mkdir(parents=True, exist_ok=True)
            try:
                run([sys.executable, "-m", "venv", str(environment)])
                run([str(python), "-m", "pip", "install", "--quiet", *self.requirements, HIREDIS])
                ready.touch()
            except BenchError:
                shutil.rmtree(environment, ignore_errors=True)
                raise
        return python


PYTHON_PEERS = (
    PythonPeer(
        name="huey",
        requirements=("huey[redis]==3.5.4", "redis==8.1.0"),
        modes=frozenset({"one", "fill", "now"}),
        fewer=4,
        options="threads, no results; a task is removed from the store before it runs",
    ),
    PythonPeer(
        name="taskiq",
        requirements=("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0"),
        modes=frozenset({"async", "concurrent", "fill", "now"}),
        fewer=4,
        options="async, RedisStreamBroker with acknowledgements, prefetch as the concurrency, no results",
    ),
    PythonPeer(
        name="dramatiq",
        requirements=("dramatiq[redis]==2.2.1", "redis==8.1.0"),
        modes=frozenset({"one", "fill", "now"}),
        fewer=4,
        options="threads in one process, default middleware and prefetch, no results",
    ),
    PythonPeer(
        name="saq",
        requirements=("saq[redis]==0.26.4", "typing-extensions"),
        modes=frozenset({"async", "concurrent", "fill", "now"}),
        fewer=16,
        options="async, no results (ttl=-1)",
    ),
    PythonPeer(
        name="arq",
        requirements=("arq==0.28.0",),
        modes=frozenset({"async", "concurrent", "fill", "now"}),
        fewer=16,
        options="async, no results (keep_result=0), default poll delay",
    ),
    PythonPeer(
        name="rq",
        requirements=("rq==3.0.0", "redis==8.1.0"),
        modes=frozenset({"one", "many", "fill", "now"}),
        fewer=16,
        options="SimpleWorker, which does not fork: one task at a time whatever the concurrency; no results",
    ),
    PythonPeer(
        name="celery",
        requirements=("celery[redis]==5.7.0", "redis==8.1.0"),
        modes=frozenset({"one", "fill", "now"}),
        fewer=16,
        options="threads in one process, prefetch multiplier 4, acknowledged early, no results",
    ),
)
