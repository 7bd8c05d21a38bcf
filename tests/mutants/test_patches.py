"""Every intentional bug in production code makes its tests fail."""

from __future__ import annotations

import pytest

import asynq_mutants.plugin  # noqa: F401 - it registers the patches
from asynq_mutants.bugs import BUGS
from asynq_mutants.patches import PATCHES, run_with
from tests.servers import require_redis_server

TRIALS = [(bug, test) for bug, patch in PATCHES.items() for test in patch.tests.values()]


@pytest.mark.parametrize(("bug", "test"), TRIALS, ids=lambda one: BUGS[one].what if one in BUGS else None)
def test_a_patch_makes_its_test_fail(bug: int, test: str) -> None:
    require_redis_server()
    if lacking := PATCHES[bug].lacks_a_server():
        pytest.skip(lacking)
    ended = run_with(bug, test)
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout + ended.stderr
