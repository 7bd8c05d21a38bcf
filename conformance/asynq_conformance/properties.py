"""Names under which tests and worker processes tell the report what they found."""

from __future__ import annotations

from typing import Final

PROPERTY_PREFIX: Final = "conformance:"
"""Prefix of what `asynq_conformance.evidence` adds to the properties of a test."""
WORKER_OUTPUT: Final = "asynq_conformance"
"""Under this name a worker process of pytest-xdist tells what it collected."""
