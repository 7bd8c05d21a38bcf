"""A delivery in a worker's hands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

if TYPE_CHECKING:
    from asynq.context import Context
    from asynq.message import Delivery
    from asynq.outcome import Outcome
    from asynq.runner import Run


@define(eq=False)
class Held:
    """Running, then to be settled."""

    delivery: Delivery
    run: Run | None = None
    outcome: Outcome | None = None
    maybe_landed: bool = False
    """True once a settlement was sent whose reply was lost, or that too few replicas confirmed in time."""

    def let_go(self) -> None:
        """Hold the run and its error no longer: their frames may lead back here."""
        self.run = self.outcome = None

    @property
    def context(self) -> Context | None:
        """The run's, None for a delivery that was never run."""
        return self.run.context if self.run else None
