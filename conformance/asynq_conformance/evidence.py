"""What a test tells the report beyond having passed: a weaker promise, an open question, figures, a timeline.

Each function speaks about the test that runs now. Outside a run nobody listens.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from attrs import asdict, frozen

from asynq_conformance.properties import PROPERTY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

EvidenceKind = Literal["weaker", "unknown", "count", "timeline", "about"]

LONGEST_TIMELINE: Final = 80
"""Events a timeline keeps: those closest to the ones marked."""

Property = tuple[str, object]
"""As in pytest's `user_properties`: the value must survive JSON."""

_listeners: list[list[Property]] = []


@frozen
class Span:
    """A call in a timeline: who made it, when it began and ended, what came of it."""

    process: str
    start: float
    """Seconds, from any zero all spans of a timeline share."""
    end: float | None
    """None: nobody knows whether and when it ended."""
    op: str
    outcome: str
    """What the record says: ok, fail, info or note."""
    text: str = ""
    """What was asked and answered, shown beside it."""
    marked: bool = False
    """True for the calls that contradict each other."""


def weaker(reason: str) -> None:
    """The backend keeps a weaker promise, and this test verifies that one: W in the table, if it passes."""
    _tell("weaker", reason)


def unknown(reason: str) -> None:
    """This test could not find out: its promise counts as unknown, even if it passes, and the run fails."""
    _tell("unknown", reason)


def count(**figures: int) -> None:
    """What was tried or found. Figures of one name are added up over the tests of a layer and backend."""
    _tell("count", figures)


def timeline(title: str, spans: Iterable[Span]) -> None:
    """The part of a history that shows a violation; the report draws it."""
    _tell("timeline", {"title": title, "spans": [asdict(span) for span in _closest(list(spans))]})


def _closest(spans: list[Span]) -> list[Span]:
    """The spans nearest in time to those that are marked, in the order they began."""
    centres = [span.start for span in spans if span.marked] or [0.0]
    near = sorted(spans, key=lambda span: min(abs(span.start - centre) for centre in centres))
    return sorted(near[:LONGEST_TIMELINE], key=lambda span: span.start)


def about(facts: Mapping[str, object]) -> None:
    """What the backend of this test says of itself: versions, capabilities."""
    _tell("about", dict(facts))


@contextmanager
def listening(properties: list[Property]) -> Iterator[None]:
    """Within, what is told is appended to these properties."""
    _listeners.append(properties)
    try:
        yield
    finally:
        _listeners.remove(properties)


def _tell(kind: EvidenceKind, value: object) -> None:
    if _listeners:
        _listeners[-1].append((PROPERTY_PREFIX + kind, value))
