"""A whole run: processes that work on one broker at the same time, a drain, and one record of it all.

    with Run(source, plan, directory) as run:
        run.start()
        run.wait()
        run.drain()
    report = check_file(run.record)

Between `start` and `drain` whoever disturbs the run writes down what it does with `run.note`, may `kill`
and `begin` processes, and `stop`s them when it has done enough.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import frozen

from asynq_conformance.histories.drain import Drain
from asynq_conformance.histories.plan import Role
from asynq_conformance.histories.record import merge
from asynq_conformance.histories.recorder import HistoryRecorder
from asynq_conformance.histories.resends import KILL, RESENDS

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from asynq_conformance.histories.plan import Plan, Source

_PATIENCE: Final = 60.0
"""Seconds within which a process must be ready, and must have ended after its time."""


class RunError(RuntimeError):
    """The run itself failed: a process of the workload did not do its part."""


@frozen
class WorkloadProcess:
    """A process of the workload."""

    role: Role
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def runs(self) -> bool:
        """True until it has ended."""
        return self.process.poll() is None

    def wait_ready(self) -> None:
        """Wait until its broker is open. RunError when it does not get so far."""
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], _PATIENCE)
        if not readable or self.process.stdout.readline() != b"ready\n":
            raise RunError(f"{self.role.process} did not get ready:\n{self.log.read_text()}")

    def go(self) -> None:
        """Let it begin."""
        self._say(b"\n")

    def stop(self) -> None:
        """Let it end what it is doing, and no more."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            self.process.stdin = None  # else whoever waits for the end would flush it

    def _say(self, text: bytes) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(text)
            self.process.stdin.flush()


class HistoryRun:
    """Processes at work on one store, and the record of what they did. None of them outlives it."""

    def __init__(self, source: Source, plan: Plan, directory: Path) -> None:
        """directory: where the record and what the processes print go."""
        self.source = source
        self.plan = plan
        self.directory = directory
        self.record = directory / "history.jsonl.gz"
        """The whole record, once drained."""
        self.workers: list[WorkloadProcess] = []
        self._killed: set[str] = set()
        self._epoch = time.monotonic()
        directory.mkdir(parents=True, exist_ok=True)
        self._recorder = HistoryRecorder(self.part("run"), "run")
        self.note(RESENDS, after=source.resend_after)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.communicate()
        self._recorder.close()

    # --- processes ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Let as many processes as planned begin, all at once."""
        for _ in range(self.plan.processes):
            self._launch(self.source)
        for worker in self.workers:
            worker.wait_ready()
        for worker in self.workers:
            worker.go()

    def begin(self, source: Source | None = None) -> WorkloadProcess:
        """Let one more process begin, such as in the place of one that was killed; on a source of its own."""
        worker = self._launch(source or self.source)
        worker.wait_ready()
        worker.go()
        return worker

    def kill(self, worker: WorkloadProcess) -> None:
        """End a process as a crash would. What it was asking for stays open in the record."""
        self._killed.add(worker.role.process)
        worker.process.kill()
        worker.process.wait()
        # Not before: until its end it sends requests, and sends them again.
        self.note(KILL, process=worker.role.process)

    def stop(self) -> None:
        """Tell all processes to end what they are doing, before their time is up."""
        for worker in self.workers:
            worker.stop()

    def wait(self) -> None:
        """Wait until all processes have ended. RunError when one did not, or failed unless it was killed."""
        ends = time.monotonic() + 3 * self.plan.seconds + _PATIENCE
        for worker in self.workers:
            name = worker.role.process
            try:
                status = worker.process.wait(max(ends - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                raise RunError(f"{name} did not end in time:\n{worker.log.read_text()}") from None
            if status and name not in self._killed:
                raise RunError(f"{name} failed with status {status}:\n{worker.log.read_text()}")

    # --- the record ---------------------------------------------------------------------------------

    def note(self, what: str, **facts: Any) -> None:
        """Write down what is done to the run."""
        self._recorder.note(what, **facts)

    def drain(self) -> bool:
        """Run what is left, write down what remains, and finish the record; True when all could be run."""
        broker = self.source.open()
        try:
            with HistoryRecorder(self.part("drain"), "drain") as recorder:
                drained = Drain(broker, recorder).run(self.plan.patience)
        finally:
            broker.close()
            self._recorder.note_clocks()
            merge(sorted(self.directory.glob("*.jsonl")), self.record)
        return drained

    def _launch(self, source: Source) -> WorkloadProcess:
        number = len(self.workers)
        name = f"p{number}"
        role = Role(
            process=name,
            number=number,
            face="plain" if number % 2 else "awaited",
            record=str(self.part(name)),
            epoch=self._epoch,
            source=source,
            plan=self.plan,
        )
        told = self.directory / f"{name}.role.json"
        told.write_text(role.to_json())
        log = self.directory / f"{name}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-m", "asynq_conformance.histories.workload", str(told)],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        self.workers.append(WorkloadProcess(role, process, log))
        return self.workers[-1]

    def part(self, process: str) -> Path:
        """Where a process writes its part of the record: one that `drain` merges, whoever writes it."""
        return self.directory / f"{process}.jsonl"


def recorded(source: Source, plan: Plan, directory: Path) -> Path:
    """A whole run without disturbance; its record."""
    with HistoryRun(source, plan, directory) as run:
        run.start()
        run.wait()
        run.drain()
        return run.record
