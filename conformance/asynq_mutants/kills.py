"""The kill matrix as values: what each layer of the suite found of each bug."""

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
    """What one layer found of a bug."""

    status: str = ""
    """killed or survived; "": it was not tried."""
    by: str = ""
    """What caught it; why it was not tried."""
    tried: int | None = None
    """How many it took, the one that caught it included; None: it is not a question of how many."""
    of: str = ""
    """Of what: programs, tasks; or what it was, where it was one."""
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """As a table shows it."""
        if self.status != KILLED:
            return self.status or "-"
        return f"{self.tried or ''} {self.of}".strip() or KILLED


@frozen(kw_only=True)
class BugResult:
    """What all layers found of a bug."""

    id: str
    bug: str
    promise: str = ""
    layer: str = ""
    """Layers that must catch it."""
    killed_by: str = ""
    """The first test that caught it."""
    seconds: float = 0.0
    status: str = ""
    """killed, survived, not tried; equivalent or accused where nothing is broken."""
    layers: Mapping[str, LayerResult] = field(factory=dict)
    """By layer, where a layer was tried or cannot catch it."""


@frozen(kw_only=True)
class LayerTotal:
    """What a layer found of all bugs it was tried on."""

    layer: str
    killed: int
    tried: int
    counted: int
    """Of those killed, for how many it is a question of how many it took."""
    median: float | None
    """Of how many it took to kill one of these."""
    of: str

    def __str__(self) -> str:
        """In words: `layer B: 91 of 95 killed, 60 of them after 3 programs in the median`."""
        killed = f"layer {self.layer}: {self.killed} of {self.tried} killed"
        if self.median is None:
            return killed
        return f"{killed}, {self.counted} of them after {self.median:g} {self.of} in the median"


def totals(bugs: Iterable[BugResult]) -> list[LayerTotal]:
    """Layer by layer, without brokers in which nothing is broken."""
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
