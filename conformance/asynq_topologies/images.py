"""Images of Redis servers: pulled from a registry, or made of an executable of this machine."""

from __future__ import annotations

import contextlib
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import docker.errors

from asynq_topologies.containers import SERVER, STARTER, reason_of, starter, told
from asynq_topologies.engines import EngineError
from asynq_topologies.executables import server_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from docker import DockerClient
    from docker.models.images import Image

TOOLS: Final = ("sleep", "sh", "cat", "ls")
"""Programs in an image made here, besides those of Redis. The first is needed, the others are for people."""

MADE_HERE: Final = "asynq-topologies.made-here"
"""Label of images that `make` has made, and may replace."""


def provide(client: DockerClient, image: str) -> None:
    """See to it that the engine has an image: pull it if it is missing.

    Raises:
        EngineError: it is missing and cannot be pulled.
    """
    try:
        with told(f"look for the image {image}"):
            client.images.get(image)
    except EngineError as error:
        if not isinstance(error.__cause__, docker.errors.ImageNotFound):
            raise
        _pull(client, image)


def _pull(client: DockerClient, image: str) -> None:
    sys.stderr.write(f"pulling {image}\n")
    try:
        client.images.pull(image)
    except (docker.errors.DockerException, OSError) as error:
        raise EngineError(
            f"the Docker engine has no image {image} and cannot pull it ({reason_of(error)}); without a "
            "registry, `python -m asynq_topologies image` makes one from a redis-server of this machine"
        ) from error


def version_of(client: DockerClient, image: str) -> str:
    """Version of the server in an image, such as 7.4.2, as it says itself.

    Raises:
        EngineError: the engine cannot run the image.
    """
    with told(f"run {image}"):
        # containers.run would leave a connection open.
        container = client.containers.create(
            image, entrypoint=[SERVER, "--version"], network_mode="none", labels={STARTER: starter()}
        )
        try:
            container.start()
            container.wait()
            printed: bytes = container.logs()
        finally:
            container.remove(force=True, v=True)
    return printed.decode().partition("v=")[2].split()[0]


def make(client: DockerClient, executable: str, repository: str = "") -> list[str]:
    """Make an image of a redis-server or valkey-server and the libraries it needs. No registry is needed.

    Args:
        client: the engine.
        executable: the server; its command-line client is taken from the same directory.
        repository: the name of the image without its tag. Default: redis or valkey.

    Returns:
        The names of the image: redis:7.0.15 and redis:7.0 for such a server.

    Raises:
        EngineError: the engine has images of these names that were not made here, or refuses.
    """
    repository = repository or ("valkey" if "valkey" in Path(executable).name else "redis")
    version = server_version(executable)
    names = [f"{repository}:{'.'.join(map(str, version[:length]))}" for length in (3, 2)]
    with told("make an image"):
        before = _named(client, names)
        if foreign := [image.tags[0] for image in before if MADE_HERE not in image.labels]:
            raise EngineError(f"the Docker engine has {foreign[0]} already: use it")
        archive = packed(executable)
        client.api.import_image_from_data(archive, repository=names[0], changes=[f"LABEL {MADE_HERE}=true"])
        made = client.images.get(names[0])
        made.tag(names[1])
        for image in before:
            client.images.remove(str(image.id))
    return names


def _named(client: DockerClient, names: Sequence[str]) -> list[Image]:
    """The images of these names. A list of all images fails if somebody removes one meanwhile."""
    found: dict[str, Image] = {}
    for name in names:
        with contextlib.suppress(docker.errors.ImageNotFound):
            image = client.images.get(name)
            found[str(image.id)] = image
    return list(found.values())


def packed(executable: str) -> bytes:
    """A tar archive of the files of an image: the server, redis-cli, a shell, the libraries of all."""
    programs = {f"usr/local/bin/{SERVER}": Path(executable)}
    cli = Path(executable).with_name(Path(executable).name.replace("-server", "-cli"))
    if cli.exists():
        programs["usr/local/bin/redis-cli"] = cli
    programs |= {f"bin/{name}": Path(found) for name in TOOLS if (found := shutil.which(name))}
    libraries = {library for program in programs.values() for library in libraries_of(program)}
    files = {**programs, **{str(library).lstrip("/"): library for library in sorted(libraries)}}
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", dereference=True) as tar:
        for directory in ("tmp", "data"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
            tar.addfile(entry)
        for name, file in files.items():
            tar.add(file.resolve(), arcname=name, filter=_of_root)
    return archive.getvalue()


def libraries_of(program: Path) -> list[Path]:
    """The shared libraries that a program needs, its loader included; none for a static program."""
    printed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
    return [Path(word) for line in printed.splitlines() for word in line.split() if word.startswith("/")]


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
