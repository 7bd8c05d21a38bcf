"""Supervisor: starts several worker processes, restarts those that exit, and stops them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff
from asynq.runtime.interval_loop import wait_with_timeout
from asynq.runtime.logs import get_logger
from asynq.runtime.stop_signals import ask_to_stop, signal_name, signals_blocked, stop_signals
from asynq.supervisor.command import INTERRUPTED, USAGE_ERROR
from asynq.supervisor.reports import ReportPipe
from asynq.supervisor.stall_watch import StallWatch
from asynq.supervisor.worker_board import workers_health

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from random import Random

    from asynq.runtime.health import Health
    from asynq.supervisor.worker_board import WorkerBoard

FORCED_STOP_TIMEOUT = 10.0
"""Seconds that a worker has to requeue its tasks and exit in a forced stop."""
STABLE_UPTIME = 60.0
"""Seconds that a worker must have run for its restart pause to start small again."""
_ENDED_AS_TOLD = (0, INTERRUPTED, -signal.SIGINT, -signal.SIGTERM)
_FD = "ASYNQ_SUPERVISOR_FD"

End = Literal["", "unable", "finished", "replace"]

log = get_logger("asynq.supervisor")


class Supervisor:
    """Keeps a number of worker processes running until `stop` is called.

    A worker that exits is restarted after a growing pause. Each worker runs in its own session, so that a
    Ctrl-C on the terminal reaches it once, through `stop`. Workers that still run `stop_timeout` seconds
    later are killed.

    A worker that calls `stop_with_supervisor` shuts down gracefully when the supervisor is killed. Workers
    start with SIGTSTP blocked: a SIGTSTP that arrives before the worker handles it stays pending until it is
    unblocked. A worker that reports with a `SupervisorReporter` at its first start that it cannot start ends
    all workers; after a restart it is restarted again. A worker that reports that nothing is left to do is
    not restarted, and one that has reached a limit is replaced at once. A worker may also report how long it
    takes to stop at most, which replaces `stop_timeout`. A worker that calls `start_supervisor_heartbeat` is
    killed and restarted when it stalls for `stall_timeout` seconds. `boards`, one for each worker or none at
    all, are what workers share with the supervisor.

    With `reloads`, `reload` may be called, and a worker that cannot start waits for it.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        env: Mapping[str, str],
        stop_timeout: float,
        rng: Random,
        first_pause: float = 1.0,
        stall_timeout: float | None = None,
        stderr: Any = None,
        boards: Sequence[WorkerBoard] = (),
        reloads: bool = False,
    ) -> None:
        self._command = command
        self._count = processes
        self._env = env
        self._stop_timeout = stop_timeout
        self._rng = rng
        self._first_pause = first_pause
        self._stderr = stderr
        self._stall_timeout = stall_timeout
        self._running: dict[int, Process] = {}
        self._reports: dict[int, ReportPipe] = {}
        self._stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._restarting = True
        self._boards = boards
        self._reloads = reloads
        self._version = 0
        """How often `reload` was called."""
        self._outdated: set[int] = set()
        """Process ids of the workers that were told to end by a reload."""
        self._reloaded = asyncio.Event()
        self._status = 0
        self.restarts = 0

    @property
    def pids(self) -> list[int]:
        """The process ids of the running workers."""
        return [process.pid for process in self._running.values()]

    def health(self, max_age: timedelta) -> Health:
        """How the workers do that report their health, within `max_age`. From any thread."""
        return workers_health(self._boards, max_age, draining=self._ending)

    @property
    def _ending(self) -> bool:
        """Whether workers that exit are not restarted."""
        return self._stopping.is_set() or not self._restarting

    def reload(self) -> None:
        """Replace all workers: they finish their tasks as at a stop, and others load the program again."""
        self._version += 1
        self._reloaded.set()
        for number, process in self._running.items():
            if process.pid not in self._outdated:
                self._outdated.add(process.pid)
                with suppress(ProcessLookupError):
                    process.terminate()
                timeout = self._reports[number].stop_timeout()
                seconds = self._stop_timeout if timeout is None else timeout
                asyncio.get_running_loop().call_later(seconds, self._kill_outdated, process)

    def _kill_outdated(self, process: Process) -> None:
        if process.returncode is None:
            log.error("worker process %d did not stop in time and is killed", process.pid)
            process.kill()

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """Send the signal to all workers, and do not restart any."""
        self._stopping.set()
        self._reloaded.set()
        self._send(signum)

    def force_stop(self) -> None:
        """End the workers at once after `stop`. Kill those that run FORCED_STOP_TIMEOUT seconds later."""
        self._forced.set()
        self._send(signal.SIGTERM)

    def stop_fetching(self) -> None:
        """Make the workers stop taking new tasks. Workers that exit are not restarted."""
        self._restarting = False
        self._send(signal.SIGTSTP)

    async def run(self) -> int:
        """Start the workers, and wait until all have ended after `stop`. Returns the overall exit status."""
        lifeline, held = os.pipe()
        overdue = asyncio.create_task(self._kill_overdue())
        try:
            await asyncio.gather(*(self._keep(number, lifeline) for number in range(self._count)))
        finally:
            overdue.cancel()
            await self._kill()
            os.close(lifeline)
            os.close(held)
        return self._status

    async def _keep(self, number: int, lifeline: int) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._rng, first=self._first_pause, cap=30.0)
        first = True
        while not self._stopping.is_set():
            started, version = loop.time(), self._version
            status, pid, end = await self._run_once(number, lifeline)
            if self._ending:
                self._status = self._status or int(status not in _ENDED_AS_TOLD)
                return
            if version != self._version:
                continue
            if end == "unable" and self._reloads:
                log.warning("worker process %d cannot start; another starts when a file changes", pid)
                await self._until_reload(version)
                continue
            if end == "finished":
                if self._boards:
                    self._boards[number].finish()
                return
            if end == "replace":
                log.info("worker process %d has reached a limit; another starts", pid)
                self.restarts += 1
                continue
            if end == "unable" and first:
                self._status = USAGE_ERROR
                self.stop()
                return
            first = False
            if loop.time() - started > STABLE_UPTIME:
                backoff.reset()
            pause = backoff.pause()
            log.warning("worker process %d %s; another starts in %.1f s", pid, describe(status), pause)
            self.restarts += 1
            await wait_with_timeout(self._stopping, pause)

    async def _until_reload(self, version: int) -> None:
        while version == self._version and not self._stopping.is_set():
            self._reloaded.clear()
            await self._reloaded.wait()

    async def _run_once(self, number: int, lifeline: int) -> tuple[int, int, End]:
        version = self._version
        reports, board = ReportPipe(), self._boards[number] if self._boards else None
        watch = None if self._stall_timeout is None else StallWatch(self._stall_timeout)
        inherited = [reports, *(board.files if board else ()), *((watch,) if watch else ())]
        try:
            env = {**self._env, _FD: str(lifeline)}
            for each in inherited:
                env |= each.environment()
            with signals_blocked(signal.SIGTSTP):
                process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env=env,
                    stdin=asyncio.subprocess.DEVNULL,
                    stderr=self._stderr,
                    pass_fds=(lifeline, *(each.fd for each in inherited)),
                    start_new_session=True,
                )
            self._running[number], self._reports[number] = process, reports
            if board:
                board.started(process.pid)
            log.info("worker process %d started", process.pid)
            if self._ending or version != self._version:
                # This worker missed the signal that the others received. It has no tasks yet.
                process.terminate()
            status = await (self._end_watched(process, watch) if watch else process.wait())
            end = _end_of(reports)
        finally:
            self._reports.pop(number, None)
            reports.close()
            if board:
                board.ended()
            if watch:
                watch.close()
        del self._running[number]
        self._outdated.discard(process.pid)
        return status, process.pid, end

    async def _end_watched(self, process: Process, watch: StallWatch) -> int:
        """Wait until a worker exits, and kill it if it stalls."""
        stalling = asyncio.create_task(watch.until_stalled())
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait((stalling, ending), return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                log.error(
                    "worker process %d has been blocked for more than %g s and is killed; its tasks run again"
                    " when their leases expire",
                    process.pid,
                    self._stall_timeout,
                )
                with suppress(ProcessLookupError):
                    process.kill()
            return await ending
        finally:
            stalling.cancel()
            ending.cancel()

    def _send(self, signum: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):
                process.send_signal(signum)

    async def _kill_overdue(self) -> None:
        await self._stopping.wait()
        reported = [pipe.stop_timeout() for pipe in self._reports.values()]
        longest = max((seconds for seconds in reported if seconds is not None), default=self._stop_timeout)
        with suppress(TimeoutError):
            async with timeouts.timeout(longest):
                await self._forced.wait()
            await asyncio.sleep(min(FORCED_STOP_TIMEOUT, longest))
        log.error("worker processes %s did not stop in time and are killed", self.pids)
        self._send(signal.SIGKILL)

    async def _kill(self) -> None:
        """Kill all remaining workers, also when `run` is cancelled."""
        left = list(self._running.values())
        self._send(signal.SIGKILL)
        for process in left:
            await process.wait()


def _end_of(reports: ReportPipe) -> End:
    """What a worker that has ended reported of its end."""
    if reports.cannot_start():
        return "unable"
    if reports.finished():
        return "finished"
    return "replace" if reports.replace() else ""


def describe(status: int) -> str:
    """Describe how a process ended, from its return code."""
    if status >= 0:
        return f"ended with exit status {status}"
    return f"was killed by {signal_name(-status)}"


def stop_with_supervisor() -> None:
    """In a worker process: shut down gracefully when the supervisor is gone."""
    lifeline = os.environ.pop(_FD, None)
    if lifeline is None:
        return

    os.set_inheritable(int(lifeline), False)  # noqa: FBT003 - its only form

    def watch() -> None:
        os.read(int(lifeline), 1)
        ask_to_stop()

    threading.Thread(target=watch, name="asynq-supervisor-watch", daemon=True).start()


async def supervise(supervisor: Supervisor) -> int:
    """Run the supervisor, and pass SIGTERM, SIGINT and SIGTSTP of this process on to the workers."""
    loop = asyncio.get_running_loop()
    with stop_signals(
        loop, stop=supervisor.stop, force=supervisor.force_stop, sigtstp=supervisor.stop_fetching
    ):
        return await supervisor.run()
