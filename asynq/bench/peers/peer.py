"""A task queue to compare with, and how its programs are made ready."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asynq.bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.bench.system import MeasuredSystem

DRIVERS = Path(__file__).parents[1] / "drivers"
INSTALL_TIMEOUT = 900.0
"""Seconds to install or build the programs of a peer, downloads included."""


class Peer(Protocol):
    """A task queue that can be installed."""

    @property
    def name(self) -> str:
        """As in --compare."""
        ...

    def prepare(self, directory: Path) -> MeasuredSystem:
        """Install or build what it needs below a directory that is kept, unless it is there already.

        Raises:
            BenchError: it cannot be installed here, with the reason.
        """
        ...


def default_directory() -> Path:
    """Where peers are kept: the cache directory of the user."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if Path(cache).is_absolute() else Path.home() / ".cache") / "asynq-bench"


def fingerprint(*contents: str | bytes) -> str:
    """A name for what is installed, so that another version gets another directory."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content if isinstance(content, bytes) else content.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def run(
    command: Sequence[str], *, directory: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run a command of an installation and return its output.

    Raises:
        BenchError: it failed, with the end of its output.
    """
    try:
        ended = subprocess.run(  # noqa: S603 - our own commands
            command,
            cwd=directory,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=INSTALL_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{command[0]}: {error}") from None
    if ended.returncode:
        raise BenchError(f"{Path(command[0]).name} failed: {ended.stdout.strip()[-500:]}")
    return ended.stdout
