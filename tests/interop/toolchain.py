"""The Go programs of these tests, built from modules whose versions and checksums are pinned in `go/`."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from asynq.bench.peers import go_peer

SOURCES = Path(__file__).parent / "go"
PEER = (SOURCES, ".")
"""Our own program, on asynq: client, worker, scheduler and inspector."""
CLI = (SOURCES / "cli", "github.com/hibiken/asynq/tools/asynq")
"""asynq's own command."""
ASYNQMON = (SOURCES / "asynqmon", "github.com/hibiken/asynqmon/cmd/asynqmon")
"""asynq's web interface."""


def require_go() -> str:
    """Path of the Go toolchain. Without one the test is skipped; where CI is set it fails instead."""
    go = go_peer.find_go()
    if go is None:
        reason = "no Go toolchain: install Go 1.24 or later"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return go


def build(program: tuple[Path, str], directory: Path) -> Path:
    """Build a program into a directory of this run, and return its path.

    The processes of a run wait for one another, so that each program is built once.
    """
    go = require_go()
    module, package = program
    executable = directory / (package.rpartition("/")[2] if package != "." else "peer")
    with (directory / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not executable.exists():
            go_peer.build(go, module, package, executable)
    return executable
