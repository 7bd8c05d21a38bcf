"""The suite on named backends: `pytest --pyargs asynq_conformance --broker package.module:Harness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance.selection import selected
from asynq_conformance.suite import BrokerConformance

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_conformance.harness import Harness
    from asynq_conformance.selection import SelectedHarness


def _fixture(backend: SelectedHarness) -> Callable[[object], Harness]:
    @pytest.fixture
    def harness(self: object) -> Harness:
        del self
        return backend.make()

    return harness


def _classes() -> dict[str, type]:
    found = selected()
    if not found:
        pytest.fail(
            "no broker is selected: add --broker package.module:Harness or --broker URL", pytrace=False
        )
    return {
        name: type(
            name,
            (BrokerConformance,),
            {
                "__module__": __name__,
                "column": backend.column,
                "harness": _fixture(backend),
            },
        )
        for number, backend in enumerate(found)
        for name in [f"TestBroker{number or ''}"]
    }


globals().update(_classes())
