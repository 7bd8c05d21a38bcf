"""Go and Python behind one interface, so that a test reads the same in both directions."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from attrs import frozen

from tests.interop.lines import LineProgram, encoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Options(TypedDict, total=False):
    """Options of a task. Durations are seconds, instants Unix seconds."""

    queue: str
    task_id: str
    max_retry: int
    timeout: float
    deadline: float
    unique: float
    retention: float
    group: str
    process_at: float
    process_in: float


class WorkerSettings(TypedDict, total=False):
    """Settings of a worker. Durations are seconds."""

    queues: Mapping[str, int]
    concurrency: int
    retry_delay: float
    aggregate: bool
    group_grace: float
    group_size: int
    shutdown: float
    shared_limits: Mapping[str, int]
    """Most runs of a queue in all servers together. Go has no such setting and ignores it."""


DEFAULT_SETTINGS = WorkerSettings(
    queues={"default": 1},
    concurrency=10,
    retry_delay=1,
    aggregate=False,
    group_grace=1,
    group_size=0,
    shutdown=8,
    shared_limits={},
)


@frozen
class Shown:
    """A task as an inspector shows it. Instants are Unix seconds, 0 for none; durations are seconds."""

    id: str
    queue: str
    type: str
    state: str
    payload: bytes
    headers: Mapping[str, str]
    max_retry: int
    retried: int
    last_err: str
    last_failed_at: float
    timeout: float
    deadline: float
    group: str
    next_process_at: float
    orphaned: bool
    retention: float
    completed_at: float
    result: bytes


@frozen
class Entry:
    """A periodic task as an inspector shows it."""

    id: str
    spec: str
    type: str
    payload: bytes
    options: tuple[str, ...]
    next: float
    prev: float


@frozen
class ServerShown:
    """A server as an inspector shows it."""

    pid: int
    concurrency: int
    queues: Mapping[str, int]
    status: str
    runs: tuple[tuple[str, str, bytes, str], ...]
    """Id, type, payload and queue of each task that it runs."""


class Inspecting(Protocol):
    """What both inspectors can do. A refusal is a PeerError."""

    def queues(self) -> list[str]:
        """Names of the queues, sorted."""

    def queue(self, queue: str) -> dict[str, Any]:
        """The numbers of a queue."""

    def groups(self, queue: str) -> dict[str, int]:
        """The sizes of its groups."""

    def task(self, queue: str, task: str) -> Shown:
        """One task."""

    def tasks(self, queue: str, state: str, group: str = "") -> list[Shown]:
        """The tasks in a state."""

    def one(self, verb: str, queue: str, task: str) -> None:
        """Run, archive or delete a task."""

    def all(self, verb: str, queue: str, state: str, group: str = "") -> int:
        """Run, archive or delete all tasks in a state."""

    def update(self, queue: str, task: str, payload: bytes) -> None:
        """Replace the payload of a task."""

    def pause(self, queue: str) -> None:
        """Pause a queue."""

    def unpause(self, queue: str) -> None:
        """Unpause a queue."""

    def delete_queue(self, queue: str, *, force: bool = False) -> None:
        """Delete a queue."""

    def cancel(self, task: str) -> None:
        """Cancel the run of a task."""

    def servers(self) -> list[ServerShown]:
        """The servers that live."""

    def entries(self) -> list[Entry]:
        """The entries of the schedulers that live."""

    def enqueued_by(self, entry: str) -> list[str]:
        """Ids of the tasks that an entry enqueued."""


class Side(Inspecting, Protocol):
    """One of the two languages on a broker."""

    name: str

    def enqueue(
        self,
        kind: str,
        payload: bytes = b"",
        headers: Mapping[str, str] | None = None,
        **options: Unpack[Options],
    ) -> Shown:
        """Enqueue a task of a type."""

    def worker(self, **settings: Unpack[WorkerSettings]) -> LineProgram:
        """Start a worker in a process of its own."""

    def scheduler(
        self, spec: str, kind: str, payload: bytes = b"", **options: Unpack[Options]
    ) -> tuple[LineProgram, str]:
        """Start a scheduler with one entry, in a process of its own; the process and the entry's id."""


class Programs:
    """The programs that one test started. None outlives it."""

    def __init__(self, url: str, peer: Path, directory: Path) -> None:
        self.url = url
        self._peer = peer
        self._directory = directory
        self._all: list[LineProgram] = []

    def go(self) -> LineProgram:
        """Start the Go program."""
        return self._started("go", [str(self._peer), self.url])

    def python(self) -> LineProgram:
        """Start the Python worker."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-m", "tests.interop.python_worker", self.url]
        return self._started("python", command, environment)

    def close(self) -> None:
        """End all that still run."""
        for one in self._all:
            if one.process.poll() is None:
                one.kill()

    def _started(
        self, name: str, command: list[str], environment: Mapping[str, str] | None = None
    ) -> LineProgram:
        log = self._directory / f"{name}-{len(self._all)}.log"
        self._all.append(LineProgram(command, log, environment))
        return self._all[-1]


def served(program: LineProgram, settings: WorkerSettings) -> LineProgram:
    """Let a program work."""
    program.ask("serve", worker={**DEFAULT_SETTINGS, **settings})
    return program


def scheduled(
    program: LineProgram, spec: str, kind: str, payload: bytes, options: Options
) -> tuple[LineProgram, str]:
    """Let a program enqueue a task periodically; the program and the entry's id."""
    entry = program.ask("schedule", spec=spec, type=kind, payload=encoded(payload), options=options)
    return program, str(entry)
