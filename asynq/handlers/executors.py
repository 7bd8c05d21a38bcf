"""`Executors`: the threads and processes in which sync handlers run."""

from __future__ import annotations

from typing import Self

from attrs import frozen

from asynq.handlers.processes.pool import ProcessPool
from asynq.runtime.process_limits import NO_LIMITS, ProcessLimits
from asynq.runtime.thread_calls import CallThreads


@frozen
class Executors:
    """Threads and processes, both started on demand. A thread waits for each process that is in use."""

    threads: CallThreads
    processes: ProcessPool

    @classmethod
    def of(cls, concurrency: int, limits: ProcessLimits = NO_LIMITS) -> Self:
        """Executors for as many handlers at the same time. `limits`: of each process."""
        return cls(CallThreads(concurrency), ProcessPool(limits))

    def close(self) -> None:
        """Accept no more calls and end the processes. Threads end after their current call."""
        self.threads.close()
        self.processes.close()
