"""`Executors`: the threads and processes in which sync handlers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from attrs import frozen

from asynq.handlers.processes.pool import ProcessPool
from asynq.runtime.threads import DaemonThreadPool

if TYPE_CHECKING:
    from concurrent.futures import Executor


@frozen
class Executors:
    """Threads and processes, both started on demand. A thread waits for each process that is in use."""

    threads: Executor
    processes: ProcessPool

    @classmethod
    def of(cls, concurrency: int) -> Self:
        """Executors for as many handlers at the same time."""
        return cls(DaemonThreadPool(concurrency), ProcessPool())

    def close(self) -> None:
        """Accept no more calls and end the processes. Threads end after their current call."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.processes.close()
