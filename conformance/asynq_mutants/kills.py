"""The kill matrix as values: what each layer of the suite found about each bug."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

KILLED: Final = "killed"
SURVIVED: Final = "survived"
EQUIVALENT: Final = "equivalent"


@frozen(kw_only=True)
class LayerResult:
    """What one layer found about a bug."""

    status: str = ""
    """"killed" or "survived"; "" if it was not tested."""
    by: str = ""
    """The test that caught it, or the reason why it was not tested."""
    tried: int | None = None
    """Number of attempts including the successful one; None if there is nothing to count."""
    of: str = ""
    """Unit of the attempts: programs or tasks; or a description if there is nothing to count."""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """Text in a table."""
        if self.status != KILLED:
            return self.status or "-"
        return f"{self.tried or ''} {self.of}".strip() or KILLED


@frozen(kw_only=True)
class BugResult:
    """What all layers found about a bug."""

    id: str
    bug: str
    promise: str = ""
    layer: str = ""
    """Layers that must catch it."""
    killed_by: str = ""
    """The first test that caught it."""
    seconds: float = 0.0
    status: str = ""
    """"killed", "survived" or "not tried"; for the correct broker "equivalent" or "accused"."""
    layers: Mapping[str, LayerResult] = field(factory=dict)
    """By layer, for layers that were tested or cannot catch it."""


@frozen(kw_only=True)
class LayerTotal:
    """Results of a layer for all bugs tested on it."""

    layer: str
    killed: int
    tried: int
    counted: int
    """Number of kills with a count of attempts."""
    median: float | None
    """Median of these counts."""
    of: str

    def __str__(self) -> str:
        """In words, such as `layer B: 91 of 95 killed, 60 of them after 3 programs in the median`."""
        killed = f"layer {self.layer}: {self.killed} of {self.tried} killed"
        if self.median is None:
            return killed
        return f"{killed}, {self.counted} of them after {self.median:g} {self.of} in the median"


def totals(bugs: Iterable[BugResult]) -> list[LayerTotal]:
    """Totals by layer, without the correct broker."""
    found: dict[str, list[LayerResult]] = {}
    for bug in bugs:
        if bug.status == EQUIVALENT:
            continue
        for layer, result in bug.layers.items():
            found.setdefault(layer, []).extend([result] if result.status else [])
    return [_total(layer, found[layer]) for layer in sorted(found)]


def _total(layer: str, results: Sequence[LayerResult]) -> LayerTotal:
    took = [(one.tried, one.of) for one in results if one.status == KILLED and one.tried is not None]
    return LayerTotal(
        layer=layer,
        killed=sum(one.status == KILLED for one in results),
        tried=len(results),
        counted=len(took),
        median=median(number for number, _ in took) if took else None,
        of=took[0][1] if took else "",
    )
