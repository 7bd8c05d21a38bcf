"""Statistics of repeated measurements, and the verdict on a row."""

from __future__ import annotations

import math
import statistics
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class Summary:
    """The samples of one figure, in the order in which they were measured."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle sample, or the mean of the middle two."""
        return statistics.median(self.samples)

    @property
    def lowest(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def highest(self) -> float:
        """The largest sample."""
        return max(self.samples)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least `percent` percent of the samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


class Better(StrEnum):
    """Which results are better."""

    HIGHER = "higher"
    LOWER = "lower"


class RowVerdict(StrEnum):
    """How a result compares with the floor and the goal of its row."""

    GOAL = "goal met"
    FLOOR = "floor met"
    MISSED = "floor missed"
    NONE = "no floor"


def verdict(result: float, better: Better, floor: float | None, goal: float | None) -> RowVerdict:
    """Compare a result with a floor and a goal. A result equal to one of them meets it."""

    def meets(bound: float) -> bool:
        return result >= bound if better is Better.HIGHER else result <= bound

    if floor is None:
        return RowVerdict.NONE
    if not meets(floor):
        return RowVerdict.MISSED
    return RowVerdict.GOAL if goal is not None and meets(goal) else RowVerdict.FLOOR
