"""The laws: one file per section of `asynq.protocol.ops`, one test per behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest
from attrs import asdict

from asynq_conformance import evidence
from asynq_conformance.lab import Face, Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_conformance.harness import Harness
    from asynq_conformance.promises import Layer

_told: set[type] = set()
"""Classes whose backend has said what it is."""


def _capabilities(lab: Lab) -> dict[str, object]:
    """What the broker says it can do, in words."""
    found = asdict(lab.broker.capabilities)
    unsupported = sorted(op.__name__ for op in found.pop("unsupported"))
    return {**found, **({"unsupported": ", ".join(unsupported)} if unsupported else {})}


class Laws:
    """Gives every law a lab, once for each face of the broker."""

    layer: ClassVar[Layer] = "A"
    promise: ClassVar[str | tuple[str, ...]] = ()
    """What laws verify that do not say it themselves: see `asynq_conformance.promises`."""
    column: ClassVar[str | None] = ""
    """How tables name the backend; "": the name of the class, without Test; None: it is in no table."""

    @pytest.fixture(params=["plain", "awaited"])
    def face(self, request: pytest.FixtureRequest) -> Face:
        """The face of the broker the law is checked through."""
        face: Face = request.param
        return face

    @pytest.fixture
    def lab(self, harness: Harness, face: Face) -> Iterator[Lab]:
        """An empty store under a clock that stands still."""
        lab = Lab(harness, face)
        if type(self) not in _told:
            _told.add(type(self))
            evidence.about({**_capabilities(lab), **harness.about()})
        yield lab
        lab.close()
