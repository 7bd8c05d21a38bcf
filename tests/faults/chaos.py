"""Events that happen to workers and their store in the chaos run."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import psutil
from attrs import define, field

from asynq import AsynqError, BrokerUnavailable, Client, Inspector, Task
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from random import Random

    from asynq_topologies.proxy import Proxy
    from tests.faults.processes import Started, Workers
    from tests.servers import RedisServer

KINDS = {
    "sleep": "ends",
    "fail": "ends",
    "long-error": "ends",
    "exit-in-child": "ends",
    "interrupt-in-child": "ends",
    "argparse": "ends",
    "fork": "ends",
    "pool": "ends",
    "enqueue": "ends",
    "block": "ends",
    "crash": "ends",
    "reject": "archived",
}
"""Every kind of task and its end: completed, or archived."""
CHILD_SUFFIX = "-child"
"""Suffix of the id of a task that a handler enqueues."""
MAX_RETRY = 10_000
"""Retries of each task, because workers die often."""
BATCH = 20
BACKLOG = 1_000
"""Number of tasks in the queue at which a producer pauses, so that draining is not longer than the run."""
AWAY = 3.0
"""Seconds for which a store is unavailable or a worker is stopped: longer than a lease."""
SETTLE_IN = 1.0
"""Maximum pause between two events in seconds."""


class Producer:
    """Enqueues tasks of all kinds through every outage, and records the acknowledged ones."""

    def __init__(self, url: str, rng: Random) -> None:
        self._client = Client(url)
        self._inspector = Inspector(url)
        self._rng = rng
        self._stop = threading.Event()
        self.acknowledged: dict[str, str] = {}
        """The kind of each acknowledged task by id."""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        kinds = list(KINDS)
        while not self._stop.wait(0.1):
            if self._behind():
                continue
            chosen = self._rng.choices(kinds, [100 if kind == "sleep" else 1 for kind in kinds], k=BATCH)
            tasks = [Task(kind, max_retry=MAX_RETRY) for kind in chosen]
            try:
                answers = self._client.enqueue_many(tasks)
            except BrokerUnavailable:
                continue
            for kind, answer in zip(chosen, answers, strict=True):
                if not isinstance(answer, AsynqError):
                    self.acknowledged[answer.id] = kind

    def _behind(self) -> bool:
        """True if enough tasks are waiting."""
        with suppress(AsynqError):
            return self._inspector.queue_info("default").pending > BACKLOG
        return False

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._client.close()
        self._inspector.close()


class Crew:
    """Single workers and a supervisor with two, replaced when they end."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._single = [self._one(), self._one()]
        self.supervisor = self._supervisor()

    def _one(self) -> Started:
        return self._workers.script("chaos_worker.py", "serve", self._workers.url)

    def _supervisor(self) -> Started:
        return self._workers.script("chaos_worker.py", "supervise", self._workers.url, "2")

    def keep(self) -> None:
        """Replace the single workers that ended. The supervisor must not end."""
        self._single = [one if one.process.poll() is None else self._one() for one in self._single]
        assert self.supervisor.process.poll() is None, "the supervisor ended"

    def any(self, rng: Random) -> psutil.Process:
        """Any worker process, including supervised ones."""
        supervised = [child for child in _children(self.supervisor.pid) if "serve" in _command(child)]
        return rng.choice([*(psutil.Process(one.pid) for one in self._single), *supervised])

    def keeper(self, rng: Random) -> psutil.Process | None:
        """The lease keeper process of a worker."""
        keepers = [
            child
            for child in _children(self.any(rng).pid)
            if "asynq.worker.leases.keeper_main" in _command(child)
        ]
        return rng.choice(keepers) if keepers else None

    def stop(self) -> dict[str, list[int]]:
        """Terminate all workers. Returns their exit statuses."""
        self.keep()
        for one in (*self._single, self.supervisor):
            one.send(signal.SIGTERM)
        return {
            "workers": [one.process.wait(60) for one in self._single],
            "supervisor": [self.supervisor.process.wait(60)],
        }


@define(kw_only=True)
class Chaos:
    """Events that happen concurrently, drawn at random. Each has ended when its method returns."""

    crew: Crew
    rng: Random
    acknowledged: Mapping[str, str]
    inspector: Inspector
    server: RedisServer | None
    """The server, if the store is a Redis server."""
    proxy: Proxy | None
    """The proxy between workers and store."""
    path: Path | None
    """The file, if the store is a file."""
    happened: Counter[str] = field(factory=Counter)

    def _events(self) -> list[Callable[[], None]]:
        of_the_store = [self.file_is_locked]
        if self.server:
            of_the_store = [
                self.server_is_killed,
                self.server_hangs,
                self.connections_are_cut,
                self.network_is_silent,
            ]
        return [
            self.worker_is_killed,
            self.worker_is_stopped_beyond_its_lease,
            self.worker_is_told_to_end,
            self.worker_is_told_twice,
            self.lease_keeper_is_killed,
            self.tasks_are_cancelled,
            self.queue_is_paused,
            *of_the_store,
        ]

    def run(self, seconds: float) -> None:
        """Execute events one after another, sometimes two at once."""
        ends, events = time.monotonic() + seconds, self._events()
        while time.monotonic() < ends:
            together = self.rng.sample(events, self.rng.choice([1, 1, 2]))
            threads = [threading.Thread(target=event) for event in together]
            for event, thread in zip(together, threads, strict=True):
                self.happened[event.__name__] += 1
                thread.start()
            for thread in threads:
                thread.join()
            let_pass(self.rng.uniform(0, SETTLE_IN))
            self.crew.keep()

    # --- workers --------------------------------------------------------------------------------------

    def worker_is_killed(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.crew.any(self.rng).kill()

    def worker_is_stopped_beyond_its_lease(self) -> None:
        with suppress(psutil.NoSuchProcess):
            worker = self.crew.any(self.rng)
            worker.suspend()
            try:
                let_pass(AWAY)
            finally:
                worker.resume()

    def worker_is_told_to_end(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self.crew.any(self.rng).terminate()

    def worker_is_told_twice(self) -> None:
        with suppress(psutil.NoSuchProcess):
            worker = self.crew.any(self.rng)
            worker.terminate()
            let_pass(self.rng.uniform(0, 2))
            worker.terminate()

    def lease_keeper_is_killed(self) -> None:
        with suppress(psutil.NoSuchProcess):
            if keeper := self.crew.keeper(self.rng):
                keeper.kill()

    # --- operators ------------------------------------------------------------------------------------

    def tasks_are_cancelled(self) -> None:
        for task_id in self.rng.sample(list(self.acknowledged), k=min(20, len(self.acknowledged))):
            with suppress(AsynqError):
                self.inspector.cancel(task_id, "default", then="retry")

    def queue_is_paused(self) -> None:
        with suppress(AsynqError):
            self.inspector.pause("default")
        let_pass(1)
        self.unpause()

    def unpause(self) -> None:
        """Unpause the queue, and retry during an outage like an operator."""
        eventually(self._unpaused)

    def _unpaused(self) -> bool:
        try:
            self.inspector.unpause("default")
        except BrokerUnavailable:
            return False
        except AsynqError:
            return True  # it was not paused
        return True

    # --- the store ------------------------------------------------------------------------------------

    def server_is_killed(self) -> None:
        assert self.server
        self.server.kill()
        let_pass(self.rng.uniform(0, AWAY))
        self.server.restart()

    def server_hangs(self) -> None:
        assert self.server
        self.server.pause()
        let_pass(AWAY)
        self.server.resume()

    def connections_are_cut(self) -> None:
        assert self.proxy
        self.proxy.cut()

    def network_is_silent(self) -> None:
        assert self.proxy
        self.proxy.hold()
        let_pass(AWAY)
        self.proxy.heal()

    def file_is_locked(self) -> None:
        assert self.path
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            let_pass(AWAY)
            connection.execute("ROLLBACK")


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
