"""Names of pytest properties that carry the findings of tests and worker processes to the report."""

from __future__ import annotations

from typing import Any, Final

import pytest

PROPERTY_PREFIX: Final = "conformance:"
"""Prefix of the properties that `asynq_conformance.evidence` adds to a test."""
WORKER_OUTPUT: Final = "asynq_conformance"
"""Key under which a worker process of pytest-xdist sends the tests that it collected."""
RUN_FACTS: Final = pytest.StashKey[dict[str, Any]]()
"""Key in `config.stash` for what a project adds to the report's section about the run. "servers" is in the
headline too."""
