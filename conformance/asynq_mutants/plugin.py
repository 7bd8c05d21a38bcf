"""Pytest plugin that applies one bug, named by the environment, before the tests."""

from __future__ import annotations

import os

import asynq_mutants.patches.client
import asynq_mutants.patches.queues
import asynq_mutants.patches.transport  # noqa: F401 - they register the bugs
from asynq_mutants.patches import BUG_VARIABLE, PATCHES


def pytest_configure() -> None:
    """Apply it. Raises KeyError for a bug without a patch."""
    PATCHES[int(os.environ[BUG_VARIABLE])].apply()
