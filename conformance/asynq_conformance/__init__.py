"""The laws of `asynq.protocol.ops` as tests for any backend: subclass BrokerConformance, add a harness.

pytest loads the plugin in this package wherever it is installed: so names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from asynq_conformance.harness import Harness
    from asynq_conformance.promises import SPEC_VERSION, Promise, promise
    from asynq_conformance.suite import BrokerConformance

pytest.register_assert_rewrite(
    "asynq_conformance.lab",
    "asynq_conformance.laws",
    "asynq_conformance.histories.laws",
)

__all__ = ["SPEC_VERSION", "BrokerConformance", "Harness", "Promise", "promise"]

_HOMES: Final = {"BrokerConformance": "suite", "Harness": "harness"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'asynq_conformance' has no attribute {name!r}")
    return getattr(import_module(f"asynq_conformance.{_HOMES.get(name, 'promises')}"), name)
