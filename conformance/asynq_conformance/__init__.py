"""Conformance suite for brokers: subclass BrokerConformance and add a harness.

pytest loads the plugin of this package in every run, so names are imported on first use.
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
