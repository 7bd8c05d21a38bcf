"""What a benchmark needs of a store: its URL, an empty start, its CPU time, and calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


REQUESTS = 1
"""Commands with which a store is asked for its usage."""


@frozen
class Calibration:
    """The speed of the store without a task queue, in the unit of the rows that are compared with it."""

    name: str
    title: str
    measure: Callable[[], float]


@frozen(kw_only=True)
class StoreUsage:
    """What the process of a store has used since its start; all 0 if it has no process of its own."""

    cpu_seconds: float = 0.0
    commands: int = 0
    """Those of scripts, and the request for these numbers, included."""
    scripts: int = 0
    """Calls of scripts."""
    network_bytes: int = 0
    """Received and sent."""
    memory_bytes: int = 0
    """In use now."""

    def since(self, before: StoreUsage) -> StoreUsage:
        """The difference, without the request for the earlier numbers."""
        return StoreUsage(
            cpu_seconds=self.cpu_seconds - before.cpu_seconds,
            commands=self.commands - before.commands - REQUESTS,
            scripts=self.scripts - before.scripts,
            network_bytes=self.network_bytes - before.network_bytes,
            memory_bytes=self.memory_bytes - before.memory_bytes,
        )


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

    def usage(self) -> StoreUsage:
        """What it has used until now."""
        ...

    def describe(self) -> dict[str, str]:
        """Facts for the report."""
        ...

    def close(self) -> None:
        """End what the benchmark has started for it."""
        ...
