"""Servers that a developer starts with a command: their URL works, and nothing remains at their end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq.protocol.ops import Ping
from asynq_redis import connect
from tests.servers import require_redis_server, runs_containers

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]


class Command:
    """The command, when its servers are ready."""

    def __init__(self, arguments: list[str], scratch: Path) -> None:
        if not runs_containers():
            require_redis_server()
        path = ":".join(str(TOP / folder) for folder in (".", "backends", "conformance"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "asynq_topologies", *arguments],
            env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(scratch)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.printed: list[str] = []
        for line in self._process.stdout:
            self.printed.append(line.strip())
            if line.startswith("Ctrl-C"):
                break

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal. Returns its exit status."""
        self._process.send_signal(by)
        status = self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@pytest.fixture
def commands() -> Iterator[list[Command]]:
    """Its processes are ended, however the test ends."""
    started: list[Command] = []
    yield started
    for command in started:
        command.end()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_servers_and_leaves_no_file(
    by: signal.Signals, commands: list[Command], tmp_path: Path
) -> None:
    command = Command(["standalone"], tmp_path)
    commands.append(command)
    url, server, *_ = command.printed
    with closing(connect(url)) as broker:
        broker.execute(Ping())
    assert server.endswith("master")
    assert list(tmp_path.iterdir()) != []
    assert command.end(by) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["standalone", "sentinel", "cluster"])
def test_a_broker_connects_to_guarded_servers_by_url(
    kind: str, commands: list[Command], tmp_path: Path
) -> None:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    command = Command([kind, "--tls", "--acl"], tmp_path)
    commands.append(command)
    url = command.printed[0]
    assert url.startswith("rediss")
    broker = connect(url)
    with closing(broker):
        broker.execute(Ping())
        assert "secret" not in repr(broker)
