"""What workers report to the benchmark: lines in a named pipe, which programs in any language can write."""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Self

from attrs import frozen

from asynq.bench.children import ANSWER_TIMEOUT
from asynq.bench.errors import BenchError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from asynq.bench.children import Child

_LOOK = 0.5
"""Seconds between two checks that the worker still runs."""


@frozen
class Mark:
    """A worker has started this many runs."""

    runs: int
    at: float
    """Time of the worker's clock, in seconds."""
    cpu: float
    """CPU time of the worker process, in seconds."""


class Reports:
    """The pipe of one measurement."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        # Open for both directions, so that it does not end between two writers.
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._unread = b""

    def mark(self, worker: Child, timeout: float = ANSWER_TIMEOUT) -> Mark:
        """The next mark. Raises BenchError, see `line`."""
        runs, at, cpu = self.line("mark", worker, timeout)
        return Mark(int(runs), float(at), float(cpu))

    def seconds(self, kind: str, worker: Child, timeout: float = ANSWER_TIMEOUT) -> float:
        """The number of the next line of this kind. Raises BenchError, see `line`."""
        (number,) = self.line(kind, worker, timeout)
        return float(number)

    def line(self, kind: str, worker: Child, timeout: float = ANSWER_TIMEOUT) -> list[str]:
        """The words after `kind` in the next line that starts with it. Other lines are dropped.

        Raises:
            BenchError: the worker ended, or no such line arrived within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            while b"\n" not in self._unread:
                worker.check_running()
                if time.monotonic() > deadline:
                    raise BenchError(f"{worker.name} reported no {kind} within {timeout:g} s{worker.said()}")
                if select.select([self._pipe], [], [], _LOOK)[0]:
                    self._unread += os.read(self._pipe, 65536)
            line, _, self._unread = self._unread.partition(b"\n")
            found, *words = line.decode().split()
            if found == kind:
                return words

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._pipe)
        self.path.unlink()
