"""Pytest plugin that makes one bug, named by the environment, before anything is tested."""

from __future__ import annotations

import os

import asynq_mutants.patches.client
import asynq_mutants.patches.queues
import asynq_mutants.patches.transport  # noqa: F401 - they register the bugs
from asynq_mutants.patches import BUG_VARIABLE, PATCHES


def pytest_configure() -> None:
    """Make it. KeyError for a bug that is not made by a patch."""
    PATCHES[int(os.environ[BUG_VARIABLE])].apply()
