"""Runs the demo: starts workers, enqueues tasks, kills a worker, waits for all tasks, and counts."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from attrs import frozen

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.demo.report import DemoReport, last_to_begin, runs_begun, tally
from asynq.demo.tasks import COUNT, DIGEST, RUN_LOG_VARIABLE
from asynq.errors import AsynqError, QueueNotEmptyError
from asynq.inspector.inspector import AsyncInspector
from asynq.protocol.connect import connect, redact_url
from asynq.protocol.ops import DeleteQueue, GetQueueStats
from asynq.supervisor.command import BROKER_VARIABLE, LogLevel
from asynq.supervisor.supervisor import Supervisor
from asynq.supervisor.supervisor import log as supervisor_log
from asynq.supervisor.worker_command import WorkerOptions, WorkerSettings, worker_command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from asynq.protocol.broker import Broker

WORKER_LEASE = timedelta(seconds=2)
RESULT_RETENTION = timedelta(hours=1)
"""Longer than any demo, because completed tasks are counted at the end."""
DEMO_QUEUE_WEIGHTS = {DIGEST: 2, COUNT: 1}
CONCURRENCY = 16
PROGRESS_TIMEOUT = 15.0
"""Seconds without a completed task after which the remaining tasks count as lost."""
_CHUNK = 500
_POLL = 0.02
_PASSED_OVER = {"__pycache__", "site-packages", "dist-packages", ".git"}


class Progress(Protocol):
    """Displays the progress of the demo."""

    def say(self, text: str) -> None:
        """Display a message."""
        ...

    def update(self, completed: int, total: int) -> None:
        """Display how many tasks completed."""
        ...


class _ProgressHandler(logging.Handler):
    """Displays the log lines of the supervisor as part of the progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.say(record.getMessage())


@contextmanager
def _supervisor_log_shown(progress: Progress) -> Iterator[None]:
    handler = _ProgressHandler(progress)
    supervisor_log.addHandler(handler)
    try:
        yield
    finally:
        supervisor_log.removeHandler(handler)


@frozen(kw_only=True)
class Demo:
    """One run of the demo. Its queues have unique names, so any broker can be used."""

    broker_url: str
    directory: Path
    files: Sequence[Path]
    processes: int
    scratch: Path
    """A temporary directory for the run log and the workers' output."""

    async def run(self, progress: Progress) -> DemoReport:
        """Run the demo. All worker processes have ended when this returns or raises.

        Raises:
            AsynqError: the broker cannot be used.
        """
        run_id = uuid4().hex[:8]
        queues = {kind: f"demo-{run_id}:{kind.partition(':')[2]}" for kind in DEMO_QUEUE_WEIGHTS}
        broker = connect(self.broker_url)
        try:
            async with self._workers(queues, progress) as supervisor:
                started = time.monotonic()
                task_ids = await self._enqueue(broker, queues, progress)
                killed = await self._watch(broker, list(queues.values()), supervisor, progress)
                seconds = time.monotonic() - started
            runs = runs_begun(self._run_log)
            tallies = {
                kind.partition(":")[2]: await tally(broker, queue, task_ids[kind], runs)
                for kind, queue in queues.items()
            }
            await _clean_up(broker, list(queues.values()), progress)
        finally:
            await broker.aclose()
        return DemoReport(
            broker=redact_url(self.broker_url),
            directory=os.fsencode(self.directory).decode(errors="backslashreplace"),
            files=len(self.files),
            processes=self.processes,
            killed=killed,
            seconds=seconds,
            tallies=tallies,
        )

    @property
    def worker_log(self) -> Path:
        """What the workers wrote to stderr."""
        return self.scratch / "workers.log"

    @property
    def _run_log(self) -> Path:
        return self.scratch / "runs.log"

    @asynccontextmanager
    async def _workers(self, queues: Mapping[str, str], progress: Progress) -> AsyncIterator[Supervisor]:
        self._run_log.touch()
        with self.worker_log.open("wb") as output, _supervisor_log_shown(progress):
            supervisor = Supervisor(
                worker_command(
                    WorkerSettings(
                        target="asynq.demo.tasks:mux",
                        log_level=LogLevel.WARNING,
                        options=WorkerOptions(
                            queues={queue: DEMO_QUEUE_WEIGHTS[kind] for kind, queue in queues.items()},
                            concurrency=CONCURRENCY,
                            lease=WORKER_LEASE,
                        ),
                    )
                ),
                self.processes,
                env={**os.environ, BROKER_VARIABLE: self.broker_url, RUN_LOG_VARIABLE: str(self._run_log)},
                stop_timeout=PROGRESS_TIMEOUT,
                rng=random.Random(),  # noqa: S311 - jitter of restarts
                stderr=output,
            )
            working = asyncio.create_task(supervisor.run())
            try:
                yield supervisor
                supervisor.stop()
                await working
            finally:
                working.cancel()
                await asyncio.wait((working,))

    async def _enqueue(
        self, broker: Broker, queues: Mapping[str, str], progress: Progress
    ) -> dict[str, list[str]]:
        """Enqueue one task of each kind per file. Returns the ids by kind."""
        client = AsyncClient(broker)
        await client.ping()
        task_ids: dict[str, list[str]] = {kind: [] for kind in queues}
        for chunk in batched(self.files, _CHUNK):
            for kind, queue in queues.items():
                tasks = [Task(kind, os.fsencode(path)) for path in chunk]
                for info in await client.enqueue_many(tasks, queue=queue, retention=RESULT_RETENTION):
                    if isinstance(info, AsynqError):
                        raise info
                    task_ids[kind].append(info.id)
        progress.say(f"{len(self.files)} files enqueued for each of {', '.join(queues.values())}")
        return task_ids

    async def _watch(
        self, broker: Broker, queues: Sequence[str], supervisor: Supervisor, progress: Progress
    ) -> tuple[int, ...]:
        """Wait until all tasks completed, killing one worker midway. Returns the killed worker's pid."""
        killed: tuple[int, ...] = ()
        total, before, since = len(self.files) * len(queues), 0, time.monotonic()
        while True:
            stats = await asyncio.gather(*(broker.aexecute(GetQueueStats(queue=queue)) for queue in queues))
            completed = sum(one.completed for one in stats)
            progress.update(completed, total)
            if completed == total:
                if not killed:
                    progress.say("all tasks completed before a worker could be killed: use more files")
                return killed
            if completed > before:
                before, since = completed, time.monotonic()
            elif time.monotonic() - since > PROGRESS_TIMEOUT:
                progress.say(f"no task completed for {PROGRESS_TIMEOUT:g} s: giving up")
                return killed
            third = completed * 3 >= total
            if not killed and third and (victim := last_to_begin(self._run_log, supervisor.pids)):
                killed = (victim,)
                os.kill(victim, signal.SIGKILL)
                progress.say(f"worker process {killed[0]} killed with SIGKILL, {completed} tasks completed")
            await asyncio.sleep(_POLL)


async def _clean_up(broker: Broker, queues: Sequence[str], progress: Progress) -> None:
    """Delete the queues of the demo, except for a queue with a task that is still active, and thus lost."""
    if not broker.capabilities.supports(DeleteQueue):
        backend = broker.capabilities.backend
        progress.say(f"the {backend} broker cannot delete queues: {', '.join(queues)} remain")
        return
    inspector = AsyncInspector(broker)
    for queue in queues:
        with suppress(QueueNotEmptyError):
            await inspector.delete_queue(queue, force=True)


def batched(files: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """Split the files into chunks of at most `size`."""
    return (files[start : start + size] for start in range(0, len(files), size))


def readable_files(directory: Path, limit: int) -> list[Path]:
    """List up to `limit` readable files of a directory tree, without caches and installed packages."""
    found = []
    for parent, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if name not in _PASSED_OVER)
        for name in sorted(files):
            path = Path(parent, name)
            if path.is_file() and os.access(path, os.R_OK):
                found.append(path)
            if len(found) == limit:
                return found
    return found
