"""Processes that are stopped (SIGSTOP) for longer than their timeouts while calls are under way."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from asynq_redis import RedisBroker
from tests.programs import program_environment
from tests.redis import frozen_programs
from tests.redis.frozen_programs import SOCKET_TIMEOUT, enqueue
from tests.servers import unread_bytes
from tests.stopping import stop
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers import RedisServer

FROZEN = SOCKET_TIMEOUT.total_seconds() * 1.5
OWN_REPORT = "log: asynq.loop "
"""The logger that tells how long a process was held up, which is true."""


class Program:
    """One of the programs at work on a server."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def hears(self, word: str) -> None:
        """Wait for the program to say this."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n", self._log.read_text()

    def go_on(self) -> None:
        """Let it go beyond the point at which it waits."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    @property
    def troubles(self) -> list[str]:
        """First lines of what it logged as a warning or worse, but for its own standstill."""
        lines = self._log.read_text().splitlines()
        return [line for line in lines if line.startswith("log: ") and not line.startswith(OWN_REPORT)]


@contextmanager
def program(name: str, server: RedisServer, folder: Path) -> Iterator[Program]:
    log = folder / "log"
    with (
        log.open("w") as stream,
        subprocess.Popen(
            [sys.executable, frozen_programs.__file__, name, server.url],
            env=program_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        ) as process,
    ):
        try:
            yield Program(process, log)
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


@contextmanager
def frozen_during_a_call(running: Program, server: RedisServer) -> Iterator[None]:
    """Let the program go on to its call and stop it before the reply arrives.

    The block waits until the server has answered. The program goes on after more than its timeout.
    """
    server.pause()
    try:
        running.go_on()
        eventually(lambda: unread_bytes(server.port))
        stop(running.process.pid, server.url)
    finally:
        server.resume()
    yield
    let_pass(FROZEN)
    running.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ["blocking", "async"])
def test_call_under_way_while_its_process_is_stopped_is_sent_once(
    own_server: RedisServer, name: str, tmp_path: Path
) -> None:
    with program(name, own_server, tmp_path) as client:
        client.hears("ready")
        own_server.client.config_resetstat()
        with frozen_during_a_call(client, own_server):
            eventually(lambda: own_server.client.llen("asynq:{q}:pending"))
        client.hears("done")
        assert client.process.wait() == 0
        calls = own_server.client.info("commandstats")
        scripts = [calls.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in ("eval", "evalsha")]
        assert sum(scripts) == 1
        assert "cmdstat_hello" not in calls  # no other connection was opened
        assert client.troubles == []


def connections(server: RedisServer) -> set[str]:
    """Ids of the connections of all clients."""
    return {connection["id"] for connection in server.client.client_list()}


@pytest.mark.parametrize("name", ["worker", "worker on asyncio"])
def test_worker_that_was_stopped_drops_no_connection_and_reports_no_outage(
    own_server: RedisServer, name: str, tmp_path: Path
) -> None:
    own_server.client.config_set("appendonly", "yes")  # else workers warn of a server without it
    broker = RedisBroker(own_server.url)
    broker.execute(enqueue())
    with program(name, own_server, tmp_path) as worker:
        worker.hears("running")
        before = connections(own_server)
        with frozen_during_a_call(worker, own_server):
            own_server.client.ping()  # it has read what the worker sent before
        broker.execute(enqueue("next"))  # with an id of its own: the first task may not be settled yet
        worker.hears("running")
        worker.go_on()
        eventually(lambda: own_server.client.get("asynq:{q}:processed") == b"2")
        assert connections(own_server) >= before
        assert worker.troubles == []
    broker.close()
