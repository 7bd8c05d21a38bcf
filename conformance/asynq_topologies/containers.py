"""Servers in Docker containers that share one network, in which they and clients use the same addresses."""

from __future__ import annotations

import contextlib
import os
import platform
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import docker.errors

from asynq_topologies.engines import EngineError, server_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from docker import DockerClient
    from docker.models.containers import Container

    from asynq_topologies.engines import Host
    from asynq_topologies.layout import ServerSpec

SERVER: Final = "redis-server"
"""The program in the image. Valkey's images have it too, under this name."""
STARTER: Final = "asynq-topologies.starter"
"""Label of all containers: the machine and the process that started them."""


class Containers:
    """Containers of one image.

    One container holds the network and publishes the ports on 127.0.0.1. The servers join its network, so the
    address that a server announces leads to it for the other servers and for clients on this machine.
    """

    bind = "0.0.0.0"  # noqa: S104 - within the containers' network; outside they have loopback ports

    def __init__(self, client: DockerClient, image: str) -> None:
        """image: must be present in the engine."""
        self._client = client
        self._image = image
        self._containers: list[Container] = []

    def hosts(self, root: Path, servers: Sequence[ServerSpec]) -> Sequence[Host]:
        """See ServerEngine."""
        with told(f"create containers of {self._image}"):
            remove_abandoned(self._client)
            ports = {f"{server.port}/tcp": ("127.0.0.1", server.port) for server in servers}
            network = self._create(root, "network", ["sleep", "infinity"], ports=ports)
            network.start()
            return [
                _ContainerHost(
                    self._create(
                        root,
                        f"server-{number}",
                        [SERVER, *server_arguments(root, number, server)],
                        user=self._user(),
                        network_mode=f"container:{network.id}",
                        volumes=[f"{root}:{root}"],
                    )
                )
                for number, server in enumerate(servers)
            ]

    def stop(self) -> None:
        """See ServerEngine."""
        with told("remove containers"):
            while self._containers:
                _remove(self._containers[-1])
                self._containers.pop()

    def _create(self, root: Path, name: str, command: list[str], **options: Any) -> Container:
        created: Container = self._client.containers.create(
            self._image,
            entrypoint=command,
            name=f"{root.name}-{name}",
            labels={STARTER: starter()},
            **options,
        )
        self._containers.append(created)
        return created

    def _user(self) -> str:
        """Who owns what servers write: this process's user, so that it can remove the files."""
        if "name=rootless" in self._client.info().get("SecurityOptions", ()):
            return "0:0"  # which is this process's user outside the container
        return f"{os.getuid()}:{os.getgid()}"


class _ContainerHost:
    """See Host."""

    def __init__(self, container: Container) -> None:
        self._container = container

    def start(self) -> None:
        """See Host."""
        with told("start a container"):
            self._container.start()

    def pause(self) -> None:
        """See Host."""
        with told("pause a container"):
            if self._status() == "running":
                self._container.pause()

    def resume(self) -> None:
        """See Host."""
        with told("resume a container"):
            if self._status() == "paused":
                self._container.unpause()

    def kill(self) -> None:
        """See Host."""
        with told("kill a container"):
            if self._status() in ("running", "paused"):
                self._container.kill()
                self._container.wait()

    def _status(self) -> str:
        self._container.reload()
        return self._container.status

    @property
    def log(self) -> str:
        """See Host."""
        with told("read the output of a container"):
            printed: bytes = self._container.logs()
        return printed.decode(errors="replace")


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn the SDK's errors into EngineError."""
    try:
        yield
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(f"Docker could not {what}: {reason_of(error)}") from error


def reason_of(error: Exception) -> str:
    """The engine's own words, without the request that they answer."""
    return str(getattr(error, "explanation", None) or error)


def remove_abandoned(client: DockerClient) -> None:
    """Remove containers whose starter was killed before it could remove them."""
    for container in started(client):
        machine, _, pid = container.labels[STARTER].rpartition("/")
        if machine == platform.node() and _has_ended(int(pid)):
            _remove(container)


def started(client: DockerClient) -> list[Container]:
    """The containers of all starters. Other processes remove theirs while this looks at each."""
    found: list[Container] = client.containers.list(all=True, filters={"label": STARTER}, ignore_removed=True)
    return found


def _has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def starter() -> str:
    """The value of the label STARTER for containers of this process."""
    return f"{platform.node()}/{os.getpid()}"


def _remove(container: Container) -> None:
    try:
        container.remove(force=True, v=True)
    except docker.errors.APIError as error:
        # Somebody else has removed it, or is about to.
        if error.status_code not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
            raise
