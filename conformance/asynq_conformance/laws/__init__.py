"""The laws: one file per section of `asynq.protocol.ops`, one test per behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from msgspec.structs import asdict

from asynq_conformance import evidence
from asynq_conformance.lab import Face, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_conformance.harness import Harness
    from asynq_conformance.promises import Layer

_described: set[type] = set()
"""Test classes whose backend has already been described to the report."""


def _capabilities(lab: Lab) -> dict[str, object]:
    """The broker's capabilities, for the report."""
    found = asdict(lab.broker.capabilities)
    unsupported = sorted(op.__name__ for op in found.pop("unsupported"))
    return {**found, **({"unsupported": ", ".join(unsupported)} if unsupported else {})}


class Laws:
    """Base of the classes of laws: gives each law a lab, once for each face of the broker."""

    layer: ClassVar[Layer] = "A"
    promise: ClassVar[str | tuple[str, ...]] = ()
    """Promises that a law verifies if it names none itself. See `asynq_conformance.promises`."""
    column: ClassVar[str | None] = ""
    """Name of the backend in tables; "": the class name without Test; None: not in any table."""

    @pytest.fixture(params=["plain", "awaited"])
    def face(self, request: pytest.FixtureRequest) -> Face:
        """The face of the broker through which the law is checked: blocking or awaited."""
        face: Face = request.param
        return face

    @pytest.fixture
    def lab(self, harness: Harness, face: Face) -> Iterator[Lab]:
        """An empty store with a fake clock."""
        lab = Lab(harness, face)
        if type(self) not in _described:
            _described.add(type(self))
            evidence.about({**_capabilities(lab), **harness.about()})
        yield lab
        lab.close()
