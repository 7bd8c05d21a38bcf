"""`ProcessPool`: the handler processes of a worker; `ProcessCall`: one call to one of them."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.errors import TaskCancelledError
from asynq.handlers.processes.messages import HandlerCall, dumps
from asynq.handlers.processes.pickled_errors import HandlerRaised
from asynq.handlers.processes.process import HandlerProcess
from asynq.runtime.logs import get_logger
from asynq.runtime.process_limits import NO_LIMITS

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker
    from asynq.runtime.process_limits import ProcessLimits

log = get_logger("asynq.worker")


class ProcessPool:
    """Handler processes: started when none is idle, reused for later calls until they reach a limit.

    Usable from any thread.
    """

    def __init__(self, limits: ProcessLimits = NO_LIMITS) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._all: set[HandlerProcess] = set()
        self._idle: list[HandlerProcess] = []
        self._closed = False

    def take(self) -> HandlerProcess:
        """An idle process, or a new one. TaskCancelledError after `close`, OSError if none can be started."""
        while True:
            with self._lock:
                if self._closed:
                    raise TaskCancelledError("the server's processes have ended")
                process = self._idle.pop() if self._idle else None
            if process is None:
                return self._start()
            if process.alive:
                return process
            self.drop(process)

    def give_back(self, process: HandlerProcess) -> None:
        """Return a process whose call has ended to the pool."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle.append(process)
        if closed:
            self.drop(process)

    def replace(self, process: HandlerProcess, limit: str, preload: bytes) -> None:
        """Kill a process whose call has ended, and start another one, so that the next call need not wait.

        Args:
            process: the process.
            limit: the limit that it has reached.
            preload: the pickled function whose module the other one imports.
        """
        log.info("handler process %d ends: %s", process.pid, limit)
        self.drop(process)
        with suppress(OSError):  # the next call tries it again
            self.give_back(self._start(preload))

    def drop(self, process: HandlerProcess) -> None:
        """Kill a process that must not be reused, and wait until it has exited."""
        with self._lock:
            self._all.discard(process)
        process.close()

    def close(self) -> None:
        """Kill all processes, including busy ones."""
        with self._lock:
            self._closed = True
            idle, busy = self._idle, self._all.difference(self._idle)
            self._idle = []
        for process in busy:
            process.kill()  # the thread that waits for its answer drops it
        for process in idle:
            self.drop(process)

    def _start(self, preload: bytes = b"") -> HandlerProcess:
        process = HandlerProcess(self._limits, preload)
        with self._lock:
            self._all.add(process)
            closed = self._closed
        if closed:
            process.kill()
        return process


class ProcessCall:
    """One call to a handler process."""

    def __init__(self, pool: ProcessPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._process: HandlerProcess | None = None
        self._killed = False

    def run(self, call: HandlerCall, broker: Broker) -> bytes | None:
        """Run the call; blocks. Returns its result or raises its error.

        HandlerProcessError when the process ended during the call.
        """
        data, ended = dumps(call), None
        process = self._pool.take()
        with self._lock:
            self._process = process
        try:
            if not self._killed:
                ended = process.call(data, broker)
        except BaseException:
            # The process may still wait for an answer, and would mistake the next call for it.
            self._killed = True
            raise
        finally:
            with self._lock:
                self._process = None
            if self._killed:
                self._pool.drop(process)
            elif ended is not None and ended.limit:
                self._pool.replace(process, ended.limit, dumps(call.function))
            else:
                self._pool.give_back(process)
        if ended is None:
            raise TaskCancelledError("before its process started")
        if isinstance(ended.answer, HandlerRaised):
            raise ended.answer.error(process.load)
        return ended.answer.result

    def kill(self) -> None:
        """Kill the process of this call, if it has one. May be called from any thread."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()
