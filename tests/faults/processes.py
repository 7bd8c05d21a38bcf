"""Workers in their own processes: start, observation, kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.faults.run_log import RUN_LOG, RunLog
from tests.programs import program_environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Sequence

HERE = Path(__file__).parent
PATIENCE = 180.0
"""Seconds after which something that should happen counts as not happening."""


class Started:
    """A running process. Its output goes to a file."""

    def __init__(self, command: Sequence[str], output: Path, **environment: str) -> None:
        self._output = output
        with output.open("ab") as stream:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env=program_environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def printed(self) -> list[str]:
        """The lines printed so far by all processes that share the file."""
        return self._output.read_text().splitlines()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """Kill it like a crash."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Terminate it like an operator. Returns its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def cpu(self) -> float:
        """CPU seconds used by it and its children."""
        process = psutil.Process(self.pid)
        times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))


class Workers:
    """The workers of one test on one broker, with a shared run log. All end with the test."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.output = directory / "workers.log"
        self.output.touch()
        self.runs = RunLog(directory / "runs.log")
        self._all: list[Started] = []

    def start(self, *, lease: float = 2, concurrency: int = 10) -> Started:
        """Start a worker with a short retry delay."""
        return self._started([str(HERE / "app.py"), self.url, str(lease), str(concurrency)])

    def script(self, name: str, *arguments: str) -> Started:
        """Start a script of this folder."""
        return self._started([str(HERE / name), *arguments])

    def command(self, *options: str) -> Started:
        """Start `asynq worker` with these options."""
        command = ["-m", "asynq", "worker", "app:mux", "--app-dir", str(HERE)]
        return self._started([*command, *options], ASYNQ_BROKER=self.url)

    def close(self) -> None:
        """End all running processes."""
        for one in self._all:
            one.process.kill()
        for one in self._all:
            one.process.wait()

    def _started(self, command: Sequence[str], **environment: str) -> Started:
        environment[RUN_LOG] = str(self.runs.path)
        self._all.append(Started(command, self.output, **environment))
        return self._all[-1]
