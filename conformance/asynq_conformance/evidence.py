"""What a test reports besides its outcome: a weaker promise, an unknown result, figures, a timeline.

Each function applies to the running test. Outside a conformance run it does nothing.
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
"""Maximum number of spans of a timeline: those closest to the marked ones are kept."""

Property = tuple[str, object]
"""As in pytest's `user_properties`. The value must be serializable as JSON."""

_listeners: list[list[Property]] = []


@frozen
class Span:
    """A call in a timeline: its process, its start and end, and its outcome."""

    process: str
    start: float
    """Seconds, relative to an origin that all spans of a timeline share."""
    end: float | None
    """None if the end is unknown."""
    op: str
    outcome: str
    """As in the recording: ok, fail, info or note."""
    text: str = ""
    """Request and answer, shown next to the span."""
    marked: bool = False
    """True for the calls that contradict each other."""


def weaker(reason: str) -> None:
    """Report that the backend keeps a weaker promise, verified by this test: W in the table if it passes."""
    _report("weaker", reason)


def unknown(reason: str) -> None:
    """Report that the result could not be determined: the promise counts as unknown and the run fails."""
    _report("unknown", reason)


def count(**figures: int) -> None:
    """Report figures. Figures of one name are added up over all tests of a layer and backend."""
    _report("count", figures)


def timeline(title: str, spans: Iterable[Span]) -> None:
    """Report the part of a history that shows a violation. The report draws it."""
    _report("timeline", {"title": title, "spans": [asdict(span) for span in _closest(list(spans))]})


def _closest(spans: list[Span]) -> list[Span]:
    """The spans closest in time to the marked ones, ordered by start."""
    centres = [span.start for span in spans if span.marked] or [0.0]
    near = sorted(spans, key=lambda span: min(abs(span.start - centre) for centre in centres))
    return sorted(near[:LONGEST_TIMELINE], key=lambda span: span.start)


def about(facts: Mapping[str, object]) -> None:
    """Report versions and capabilities of the backend under test."""
    _report("about", dict(facts))


@contextmanager
def listening(properties: list[Property]) -> Iterator[None]:
    """Append what is reported within the context to these properties."""
    _listeners.append(properties)
    try:
        yield
    finally:
        _listeners.remove(properties)


def _report(kind: EvidenceKind, value: object) -> None:
    if _listeners:
        _listeners[-1].append((PROPERTY_PREFIX + kind, value))
