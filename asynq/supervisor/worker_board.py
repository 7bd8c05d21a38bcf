"""`WorkerBoard`: what a worker process shares with its supervisor; `workers_health`: how all of them do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.monitoring.counters import RunCounters
from asynq.monitoring.counting_recorder import reset_gauges
from asynq.monitoring.health_file import HealthFile
from asynq.runtime.health import DRAINING, STARTED, Health, combined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta


class WorkerBoard:
    """Shared memory of one worker process at a time and the supervisor. It outlives the process.

    Args:
        counts: whether the process counts what it observes.
    """

    def __init__(self, *, counts: bool = False) -> None:
        self._health = HealthFile()
        self.counters = RunCounters() if counts else None
        """What the processes count that use the board one after the other; None: nothing."""
        self._pid: int | None = None
        self._finished = self._was_ready = False

    @property
    def files(self) -> Sequence[HealthFile | RunCounters]:
        """What the worker inherits."""
        return (self._health,) if self.counters is None else (self._health, self.counters)

    def started(self, pid: int) -> None:
        """A process uses the board from now on."""
        self._pid = pid

    def ended(self) -> None:
        """The process has ended."""
        self._pid = None
        self._health.clear()
        if self.counters is not None:
            reset_gauges(self.counters)

    def finish(self) -> None:
        """No other process replaces the one that has ended."""
        self._finished = True

    def close(self) -> None:
        """Free the memory."""
        self._health.close()
        if self.counters is not None:
            self.counters.close()

    def health(self, max_age: timedelta) -> Health | None:
        """How the process does, if it has reported within `max_age`. None if it has finished its work."""
        if self._finished:
            return None
        health = self._health.read(max_age)
        self._was_ready |= health.ready
        return health

    @property
    def was_ready(self) -> bool:
        """Whether its process, or one that it replaces, was ready before."""
        return self._was_ready

    @property
    def name(self) -> str:
        """The process, for messages."""
        return "a process" if self._pid is None else f"process {self._pid}"


def workers_health(boards: Sequence[WorkerBoard], max_age: timedelta, *, draining: bool) -> Health:
    """The health of all worker processes together.

    All must have been ready once. After that, a process that is being replaced, because it has reached a
    limit or has crashed, does not count while another one is ready.
    """
    found = [(board, health) for board in boards if (health := board.health(max_age)) is not None]
    any_ready = any(health.ready for _, health in found)
    counted = [
        (board.name, health)
        for board, health in found
        if not (any_ready and board.was_ready and health.failing.keys() & {STARTED, DRAINING})
    ]
    if not draining:
        return combined(counted)
    # All of them drain: this is said once.
    rest = [
        (name, Health({k: why for k, why in health.failing.items() if k != DRAINING}))
        for name, health in counted
    ]
    return combined([("", Health({DRAINING: "it takes no new tasks"})), *rest])
