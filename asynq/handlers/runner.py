"""`Runner`: creates and starts the runs of a worker, and reports in batches how they ended."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING

from asynq.handlers.adapters import adapt_handler
from asynq.handlers.outcome import Interrupted
from asynq.handlers.resources import Resources
from asynq.handlers.run import Run, RunEnvironment
from asynq.runtime.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.adapters import Handler
    from asynq.handlers.executors import Executors
    from asynq.handlers.outcome import Outcome
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery

CANCEL_GRACE = 5.0
"""Seconds that a cancelled handler has to end."""

Report = tuple[Run, "Outcome | None"]
"""A run with its outcome, or with None if the outcome was reported before. If the run is `finished`, its slot
is free. Each run is reported once with its outcome, and once as finished, which may be at the same time."""


class Runner:
    """Creates and starts runs. Belongs to the running event loop.

    Args:
        handler: handles the tasks.
        broker: the broker that the tasks came from.
        executors: where sync functions run.
        on_reports: called with all reports of an iteration of the event loop, in the next one.
        resources: what the contexts of the runs offer; by default clients of the broker and no state.
        grace: seconds that a cancelled handler has to end.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        broker: Broker,
        executors: Executors,
        on_reports: Callable[[Sequence[Report]], None],
        resources: Resources | None = None,
        grace: float = CANCEL_GRACE,
    ) -> None:
        self.running: set[Run] = set()
        """The runs that are started and not reported as finished."""
        self._loop = asyncio.get_running_loop()
        self._environment = RunEnvironment(
            handler=adapt_handler(handler),
            broker=broker,
            executors=executors,
            resources=resources or Resources(broker),
            grace=grace,
            loop=self._loop,
            deadlines=Deadlines(self.running),
            report=self._report,
        )
        self._on_reports = on_reports
        self._reports: list[Report] = []
        self._variables = copy_context()

    def create(self, delivery: Delivery, now: int) -> Run:
        """A run of this delivery. `now`: the broker's time in Unix milliseconds."""
        return Run(delivery, self._environment, now)

    def start(self, runs: Sequence[Run]) -> None:
        """Start these runs."""
        # Reports are handled in this context, not in that of a handler.
        self._variables = copy_context()
        self.running.update(runs)
        instant = self._loop.time()
        for run in runs:
            run.start(instant)
        self._environment.executors.threads.run_added()
        # The first steps of these runs come before this call.
        self._loop.call_soon(_end_those_never_begun, runs)

    def close(self) -> None:
        """Cancel all runs. Nothing expires any more."""
        self._environment.deadlines.close()
        for run in self.running:
            run.cancel(Interrupted("shutdown"))

    def _report(self, run: Run, outcome: Outcome | None) -> None:
        self._reports.append((run, outcome))
        if len(self._reports) == 1:
            self._loop.call_soon(self._hand_over, context=self._variables)

    def _hand_over(self) -> None:
        reports, self._reports = self._reports, []
        for run, _ in reports:
            if run.finished:
                self.running.discard(run)
        self._on_reports(reports)


def _end_those_never_begun(runs: Sequence[Run]) -> None:
    for run in runs:
        if not run.finished:
            run.end_if_never_begun()
