"""A disturbance: what is done to a run, what is promised nevertheless, and what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from asynq_conformance.disturbances.probe import Probe
from asynq_conformance.histories.resends import DISTURBANCE
from asynq_conformance.histories.run import HistoryRun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from asynq_conformance.histories.plan import Plan, Source

_WARM_UP: Final = 0.7
"""Seconds of undisturbed work before the disturbance."""
_AFTERWARDS: Final = 1.0
"""Seconds of work after all queues were seen to flow again."""
_PATIENCE: Final = 40.0
"""Seconds after which work that does not go on counts as never going on."""


@frozen(kw_only=True)
class Disturbance:
    """Something that is done to a run."""

    strike: Callable[[HistoryRun], object]
    """Does it, and undoes what has to be undone: when it returns, clients and store could work again."""
    heals_within: float = 5.0
    """Seconds from then until a new task can be enqueued and handed out in every queue."""
    may_lose: bool = False
    """True if the store promises no more than this: what it acknowledged shortly before the disturbance or
    during it may be lost, or come back. Whatever else happens is a failure all the same."""
    may_undo: bool = False
    """True if the store keeps what it acknowledged, but no more than this: an operation of unknown outcome
    may be undone, also after a read has shown its effect. Reads do not wait for the replicas."""


@frozen(kw_only=True)
class DisturbedRun:
    """What came of a disturbed run."""

    record: Path
    began: int
    """Nanoseconds of CLOCK_MONOTONIC at which the disturbance began."""
    ended: int
    """The same of its end."""
    healed: Mapping[str, float] = field(factory=dict)
    """By queue: seconds from the end of the disturbance until it flowed."""
    drained: bool

    @property
    def slowest(self) -> float:
        """Seconds until all queues flowed."""
        return max(self.healed.values())


def disturbed(
    source: Source,
    plan: Plan,
    directory: Path,
    disturbance: Disturbance,
    *,
    rest: Callable[[float], None] = time.sleep,
) -> DisturbedRun:
    """Record a run that is disturbed once it flows, and drain it. AssertionError if work never goes on."""
    with HistoryRun(source, plan, directory) as run:
        run.start()
        with Probe(source, run.part("probe")) as probe:
            probe.wait_flow(plan.queues, _PATIENCE)
            rest(_WARM_UP)
            run.note(DISTURBANCE, phase="begin")
            began = time.monotonic_ns()
            disturbance.strike(run)
            ended = time.monotonic_ns()
            run.note(DISTURBANCE, phase="end")
            healed = probe.wait_flow(plan.queues, _PATIENCE)
            run.note(DISTURBANCE, phase="healed", seconds=healed)
            rest(_AFTERWARDS)
        run.stop()
        run.wait()
        drained = run.drain()
        return DisturbedRun(record=run.record, began=began, ended=ended, healed=healed, drained=drained)
