"""Forked children of one process with all imports done, each with its own Redis server."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field

from asynq_topologies import process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.servers import RedisServer

MEMORY_LIMIT = 3 << 30
"""Memory limit of a server in bytes, against endless loops."""
OVERRIDE = "ASYNQ_TEST_REDIS"
"""Environment variable with the URL of the server that tests use."""

Message = dict[str, Any]


class Job(Protocol):
    """Work for a child process."""

    def run(self, log: str, tell: Callable[[Message], None]) -> None:
        """In the child: do the work and send messages. `log` is the path of the server's log."""
        ...

    def hear(self, message: Message) -> float:
        """In the parent: handle a message. Returns the seconds until the next one is due."""
        ...

    def ended(self, *, in_time: bool) -> None:
        """In the parent: the child has ended; whether it ended on its own."""
        ...


@define
class Slot:
    """A server, and the child that uses it."""

    server: RedisServer
    job: Job | None = None
    _pid: int = 0
    _pipe: int = -1
    _buffer: bytes = b""
    _deadline: float = 0.0
    _directory: str = field(factory=lambda: tempfile.mkdtemp(prefix="mutants-"))

    @property
    def pipe(self) -> int:
        """Readable when the child has sent a message or has ended."""
        return self._pipe

    def begin(self, job: Job, first: float) -> None:
        """Start a child with this job. Its first message is due within this many seconds."""
        reading, writing = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            os.close(reading)
            self._live(job, writing)
        os.close(writing)
        self.job, self._pid, self._pipe, self._buffer = job, pid, reading, b""
        self._deadline = time.monotonic() + first

    def _live(self, job: Job, pipe: int) -> None:
        """The child's process. Does not return."""
        try:
            gc.disable()  # a collection would copy the memory shared with the parent
            os.setsid()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.dup2(null, 2)
            os.environ[OVERRIDE] = self.server.url
            tempfile.tempdir = self._directory
            process._starter = ThreadPoolExecutor(1)
            job.run(str(self.log), lambda message: _write(pipe, message))
        except BaseException as error:  # noqa: BLE001 - whatever it was, the parent is to know
            _write(pipe, {"crash": repr(error)})
        finally:
            os._exit(0)

    @property
    def log(self) -> Any:
        """Path of the server's log."""
        return self.server._owned().directory / "log"

    def read(self) -> bool:
        """Read messages of the child. Returns False if it has ended."""
        chunk = os.read(self._pipe, 1 << 16)
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            assert self.job is not None
            self._deadline = time.monotonic() + self.job.hear(json.loads(line))
        if not chunk:
            self._end(in_time=True)
        return bool(chunk)

    def overdue(self) -> bool:
        """End the child and its server's work if it has been silent for too long. Returns whether it was."""
        if time.monotonic() < self._deadline:
            return False
        self._end(in_time=False)
        self.restart()
        return True

    def _end(self, *, in_time: bool) -> None:
        os.close(self._pipe)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        job, self.job, self._pipe = self.job, None, -1
        assert job is not None
        job.ended(in_time=in_time)
        if not self.server._owned().runs:
            self.restart()

    def restart(self) -> None:
        """Start a new server with a memory limit."""
        self.server.restart()
        found = self.server._owned()._process
        if found is not None:
            resource.prlimit(found.pid, resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))

    def stop(self) -> None:
        """End the child, if there is one."""
        if self.job is not None:
            self._end(in_time=False)

    def close(self) -> None:
        """Stop the server. The child must have ended."""
        self.server.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


def _write(pipe: int, message: Message) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


FIRST_RUN_SECONDS = 30.0
"""Seconds until the first message of a child is due."""


def run_all(jobs: Iterator[Job], slots: list[Slot], until: float) -> bool:
    """Run all jobs, as many at once as there are slots. Returns False if the time ended before."""
    try:
        while _begin(jobs, slots, until):
            busy = {slot.pipe: slot for slot in slots if slot.job is not None}
            ready, _, _ = select.select(list(busy), [], [], 0.05)
            for pipe in ready:
                busy[pipe].read()
            for slot in busy.values():
                if slot.job is not None:
                    slot.overdue()
        return next(jobs, None) is None
    finally:
        for slot in slots:
            slot.stop()


def _begin(jobs: Iterator[Job], slots: list[Slot], until: float) -> bool:
    """Start the next jobs in free slots. Returns False if no slot has a child afterwards."""
    for slot in slots:
        if slot.job is None and time.monotonic() < until and (job := next(jobs, None)) is not None:
            slot.begin(job, FIRST_RUN_SECONDS)
    return any(slot.job is not None for slot in slots)
