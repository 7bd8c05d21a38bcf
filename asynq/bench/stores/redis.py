"""A Redis server: one that the benchmark starts, or one that is empty."""

from __future__ import annotations

import csv
import shutil
import socket
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from asynq.bench.children import Child
from asynq.bench.errors import BenchError
from asynq.bench.resp import RedisConnection
from asynq.bench.stores.store import Calibration, StoreUsage

if TYPE_CHECKING:
    from pathlib import Path

KEY = "bench:calibration"
PAYLOAD = "x" * 100
SCRIPT_COMMANDS = ("eval", "evalsha", "eval_ro", "evalsha_ro", "fcall", "fcall_ro")
START_TIMEOUT = 10.0
"""Seconds that a new server has to answer."""
MEMORY = "2gb"
"""Largest size of a server that the benchmark starts. It refuses writes beyond it."""
_REQUESTS = {50: 40_000, 1: 15_000}
"""Requests of one calibration, by the number of clients: about half a second."""


class RedisStore:
    """An empty database of a Redis server. It is emptied before each measurement and at the end.

    Raises:
        BenchError: there is no server at the URL, its database contains keys, or redis-benchmark is missing.
    """

    def __init__(self, url: str, server: Child | None = None) -> None:
        benchmark = shutil.which("redis-benchmark")
        if benchmark is None:
            raise BenchError("redis-benchmark is not installed: it measures the speed of the server itself")
        self.url = url
        self._benchmark = benchmark
        self._server = server
        self.connection = RedisConnection(url)
        if keys := self.connection.call("DBSIZE"):
            self.connection.close()
            raise BenchError(
                f"the database has {keys} keys, and a benchmark would delete them:"
                f" use an empty one, such as {self.connection.host}:{self.connection.port}/9"
            )
        self.calibrations = {
            f"C{clients}": Calibration(
                f"C{clients}",
                f"redis-benchmark LPUSH of 100 bytes, {clients} client{'s' if clients > 1 else ''}",
                partial(self._calibrate, clients),
            )
            for clients in _REQUESTS
        }

    @classmethod
    def start(cls, scratch: Path) -> RedisStore:
        """Start a server on a free loopback port, without persistence. `close` ends it.

        Raises:
            BenchError: it cannot be started, or a tool is missing.
        """
        executable = shutil.which("redis-server")
        if executable is None:
            raise BenchError("redis-server is not installed: install it, or name a server with --broker")
        port = _free_port()
        command = [executable, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(scratch)]
        command += ["--save", "", "--appendonly", "no", "--maxmemory", MEMORY]
        server = Child("redis-server", command, log=scratch / "redis-server.log")
        try:
            _wait_ready(server, port)
            return cls(f"redis://127.0.0.1:{port}", server)
        except BaseException:
            server.stop()
            raise

    def reset(self) -> None:
        """Empty the database."""
        self.connection.call("FLUSHDB", "SYNC")

    def usage(self) -> StoreUsage:
        """What the server has used."""
        facts = self.connection.info("everything")
        return StoreUsage(
            cpu_seconds=float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"]),
            commands=int(facts["total_commands_processed"]),
            scripts=sum(_calls(facts.get(f"cmdstat_{name}", "")) for name in SCRIPT_COMMANDS),
            network_bytes=int(facts["total_net_input_bytes"]) + int(facts["total_net_output_bytes"]),
            memory_bytes=int(facts["used_memory"]),
        )

    def describe(self) -> dict[str, str]:
        """The server's version."""
        return {"redis": self.connection.info("server")["redis_version"]}

    def close(self) -> None:
        """Empty the database, and end the server if the benchmark has started it."""
        try:
            self.reset()
        finally:
            self.connection.close()
            if self._server is not None:
                self._server.stop()

    def _calibrate(self, clients: int) -> float:
        """Requests a second."""
        server = self.connection
        command = [self._benchmark, "-h", server.host, "-p", str(server.port), "--dbnum", server.database]
        command += ["--user", server.username] if server.username else []
        command += ["-a", server.password] if server.password else []
        command += ["-c", str(clients), "-n", str(_REQUESTS[clients]), "--csv", "LPUSH", KEY, PAYLOAD]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
        server.call("DEL", KEY)
        rows = list(csv.reader(ended.stdout.splitlines()))
        if ended.returncode or len(rows) < 2:
            raise BenchError(f"redis-benchmark failed: {(ended.stderr or ended.stdout).strip()[-500:]}")
        return float(rows[1][1])


def _calls(statistics: str) -> int:
    """The number of calls in a line of INFO commandstats, such as calls=3,usec=12."""
    return int(statistics.removeprefix("calls=").partition(",")[0] or 0)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_ready(server: Child, port: int) -> None:
    """Wait until the server accepts connections. Raises BenchError if it does not."""
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        server.check_running()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise BenchError(f"redis-server did not start{server.said()}") from None
            time.sleep(0.02)
