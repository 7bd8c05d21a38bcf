"""What a benchmark needs of a store: its URL, an empty start, its CPU time, and calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@frozen
class Calibration:
    """The speed of the store without a task queue, in the unit of the rows that are compared with it."""

    name: str
    title: str
    measure: Callable[[], float]


class MeasuredStore(Protocol):
    """A running store that only the benchmark uses."""

    @property
    def url(self) -> str:
        """Broker URL."""
        ...

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """By name."""
        ...

    def reset(self) -> None:
        """Remove everything from the store."""
        ...

    def cpu_seconds(self) -> float:
        """CPU time that the store's own process has used; 0 if it has none."""
        ...

    def commands(self) -> int:
        """Commands that the store has processed, this request included; 0 if it does not count them."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts for the report."""
        ...

    def close(self) -> None:
        """End what the benchmark has started for it."""
        ...
