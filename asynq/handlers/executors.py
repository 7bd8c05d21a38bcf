"""Where plain handlers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from attrs import frozen

from asynq.handlers.processes.pool import ProcessPool
from asynq.runtime.threads import DaemonThreads

if TYPE_CHECKING:
    from concurrent.futures import Executor


@frozen
class Executors:
    """Threads, and processes: each process has a thread that waits for it. Both start when needed."""

    threads: Executor
    processes: ProcessPool

    @classmethod
    def of(cls, concurrency: int) -> Self:
        """Room for so many handlers at once."""
        return cls(DaemonThreads(concurrency), ProcessPool())

    def close(self) -> None:
        """Take no more calls; end the processes. Threads end after what they carry out."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.processes.close()
