"""Every bug made in production code makes the test fail that is there to notice it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import asynq_mutants.plugin  # noqa: F401 - it registers the patches
from asynq_mutants.bugs import BUGS
from asynq_mutants.patches import ENVIRONMENT, PATCHES, Patch
from tests.servers import find_redis_servers, require_redis_server, server_version

ROOT = Path(__file__).parents[2]
SINCE = {66: (7, 2)}
"""Bugs that are none on older servers."""


@pytest.mark.parametrize("patch", PATCHES.values(), ids=lambda patch: f"{patch.bug} {BUGS[patch.bug].what}")
def test_a_patch_makes_its_test_fail(patch: Patch) -> None:
    require_redis_server()
    if max(map(server_version, find_redis_servers())) < SINCE.get(patch.bug, (0,)):
        pytest.skip("no server at hand on which it is a bug")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=line", "-p", "asynq_mutants.plugin"]
    ended = subprocess.run(
        [*command, "-p", "no:randomly", "-p", "no:cacheprovider", patch.test],
        cwd=ROOT,
        env={**os.environ, ENVIRONMENT: str(patch.bug)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout + ended.stderr
