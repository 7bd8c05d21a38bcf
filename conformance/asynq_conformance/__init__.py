"""The laws of `asynq.ops` as tests any backend can run: subclass BrokerConformance, give it a harness."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("asynq_conformance.lab", "asynq_conformance.laws")

# Imported after the registration above, so that a failing law explains itself.
from asynq_conformance.harness import Harness  # noqa: E402
from asynq_conformance.promises import SPEC_VERSION, Promise, promise  # noqa: E402
from asynq_conformance.suite import BrokerConformance  # noqa: E402

__all__ = ["SPEC_VERSION", "BrokerConformance", "Harness", "Promise", "promise"]
