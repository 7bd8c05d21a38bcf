"""Go asynq: a small program, built from a module with pinned versions and checksums."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.bench.errors import BenchError
from asynq.bench.peers.peer import DRIVERS, fingerprint, run
from asynq.bench.system import MeasuredSystem

if TYPE_CHECKING:
    from asynq.bench.system import WorkerOptions

SOURCES = DRIVERS / "go"
DEFAULT_TOOLCHAIN = Path("/usr/local/go/bin")
"""Where the installer of Go puts it."""


def find_go() -> str | None:
    """Path of the Go toolchain: the one on PATH, or at the usual place."""
    return shutil.which("go") or shutil.which("go", path=DEFAULT_TOOLCHAIN)


def build(go: str, module: Path, package: str, executable: Path) -> None:
    """Build a program of a module. The file appears at once and whole.

    Raises:
        BenchError: the build failed, with the end of its output.
    """
    unfinished = executable.with_suffix(f".{os.getpid()}")
    options = ["-buildvcs=false", "-mod=readonly", "-ldflags=-s -w", "-o", str(unfinished)]
    run([go, "build", *options, package], directory=module)
    unfinished.replace(executable)


@frozen
class GoPeer:
    """The library whose design this one follows."""

    name: str = "go"

    def prepare(self, directory: Path) -> MeasuredSystem:
        """See `Peer`."""
        go = find_go()
        if go is None:
            raise BenchError(f"there is no Go toolchain on PATH or in {DEFAULT_TOOLCHAIN}")
        texts = {path.name: path.read_bytes() for path in sorted(SOURCES.iterdir())}
        directory.mkdir(parents=True, exist_ok=True)
        executable = directory / f"go-{fingerprint(*texts.values())}"
        if not executable.exists():
            build(go, SOURCES, ".", executable)

        def work(options: WorkerOptions) -> list[str]:
            return [str(executable), "work", str(options.concurrency)]

        version = re.search(rb"hibiken/asynq v(\S+)", texts["go.mod"])
        return MeasuredSystem(
            name=self.name,
            version=version[1].decode() if version else "",
            fewer=4,
            options="hibiken/asynq, one process, all options at their defaults",
            modes=frozenset({"one", "concurrent", "fill", "now"}),
            produce=(str(executable), "produce"),
            work=work,
        )
