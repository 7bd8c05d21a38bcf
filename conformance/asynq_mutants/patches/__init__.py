"""Bugs in production code, created by a patch for one test run. Production code does not know about them.

`run_with` runs `python -m pytest -p asynq_mutants.plugin TEST` with the number of the bug in the environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from asynq_mutants.bugs import BUGS
from asynq_topologies.executables import find_redis_servers, server_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq_conformance.promises import Layer

ROOT: Final = Path(__file__).parents[3]
BUG_VARIABLE: Final = "ASYNQ_MUTANT"
"""Environment variable with the number of the bug."""


@frozen
class Patch:
    """A bug, and for each layer that must catch it a test that must fail."""

    bug: int
    apply: Callable[[], None]
    tests: Mapping[Layer, str]
    since: tuple[int, ...]
    """The first version of Redis in which it is a bug."""

    def lacks_a_server(self) -> str:
        """Why it cannot be tested on this machine; "" if it can."""
        versions = [server_version(server) for server in find_redis_servers()]
        if not versions:
            return "no redis-server at hand"
        return "" if max(versions) >= self.since else "no server at hand on which it is a bug"


PATCHES: dict[int, Patch] = {}


def failing(
    test: str, *, bug: int, histories: str = "", since: tuple[int, ...] = (0,)
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a patch with the test that must fail, and the law of layer C that must fail, if any."""

    def register(apply: Callable[[], None]) -> Callable[[], None]:
        first: Layer = "A" if "A" in BUGS[bug].layers else "D"
        tests: dict[Layer, str] = {first: test, **({"C": histories} if histories else {})}
        PATCHES[bug] = Patch(bug, apply, tests, since)
        return apply

    return register


def run_with(bug: int, test: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with this bug."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rs", "--tb=line", "-p", "asynq_mutants.plugin"]
    return subprocess.run(  # noqa: S603 - this very interpreter
        [*command, "-p", "no:randomly", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env={**os.environ, BUG_VARIABLE: str(bug)},
        capture_output=True,
        text=True,
        check=False,
    )
