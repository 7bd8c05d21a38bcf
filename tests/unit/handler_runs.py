"""Deliveries and handler runs for tests, with the test's own clock, threads and broker."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from attrs import Factory, frozen

from asynq.clock import FakeClock
from asynq.handlers.executors import Executors
from asynq.handlers.outcome import Interrupted
from asynq.handlers.processes.pool import ProcessPool
from asynq.handlers.runner import Runner
from asynq.protocol.message import Delivery, TaskMessage
from asynq.runtime.thread_calls import ThreadCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.adapters import Handler
    from asynq.handlers.context import Context
    from asynq.handlers.outcome import Cancelled, Outcome
    from asynq.handlers.run import Run
    from asynq.handlers.runner import Report
    from asynq.protocol.ops import Op
    from asynq.runtime.thread_calls import CallThreads

GRACE = 0.04


class RecordingBroker:
    """A broker that records the operations it executes."""

    def __init__(self) -> None:
        self.executed: list[Op[Any]] = []

    def execute(self, op: Op[Any]) -> None:
        self.executed.append(op)

    async def aexecute(self, op: Op[Any]) -> None:
        self.executed.append(op)


def delivery(type: str = "t", *, cancel: str = "", lease_losses: int = 0, **message: Any) -> Delivery:  # noqa: A002
    told = TaskMessage(**{"id": "id-1", "type": type, "queue": "default"} | message)
    return Delivery(message=told, token="token", expires_at=0, cancel=cancel, lease_losses=lease_losses)


class RunOfTest:
    """A run, and its outcome and its end as something to wait for."""

    def __init__(self, make: Callable[[Callable[[Sequence[Report]], None]], tuple[Runner, Run]]) -> None:
        self.finished = asyncio.Event()
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.runner, self.run = make(self._report)

    @property
    def context(self) -> Context:
        return self.run.context

    def cancel(self, stop: Cancelled | Interrupted) -> None:
        self.run.cancel(stop)

    async def execute(self) -> Outcome:
        self.runner.start([self.run])
        try:
            return await self._outcome
        except asyncio.CancelledError:
            self.cancel(Interrupted("shutdown"))
            raise

    def _report(self, reports: Sequence[Report]) -> None:
        for run, outcome in reports:
            if outcome is not None and not self._outcome.done():
                self._outcome.set_result(outcome)
            if run.finished:
                self.finished.set()


@frozen
class Runs:
    """Creates runs of handlers."""

    threads: CallThreads
    processes: ProcessPool = Factory(ProcessPool)
    broker: Any = Factory(RecordingBroker)
    clock: FakeClock = Factory(FakeClock)

    def make(self, handler: Handler, delivered: Delivery | None = None, *, grace: float = GRACE) -> RunOfTest:
        executors = Executors(self.threads, self.processes)

        def make(on_reports: Callable[[Sequence[Report]], None]) -> tuple[Runner, Run]:
            runner = Runner(
                handler, broker=self.broker, executors=executors, on_reports=on_reports, grace=grace
            )
            return runner, runner.create(delivered or delivery(), self.clock.now())

        return RunOfTest(make)

    async def outcome(self, handler: Handler, delivered: Delivery | None = None) -> Outcome:
        return await self.make(handler, delivered).execute()


async def started(run: RunOfTest) -> asyncio.Task[Outcome]:
    """Start a run. An async handler has reached its first wait when this returns."""
    execution = asyncio.create_task(run.execute())
    for _ in range(5):
        await asyncio.sleep(0)
    return execution


def occupy(threads: CallThreads, function: Callable[[], object]) -> asyncio.Event:
    """Call a function in one of the threads. The event is set when the function has returned."""
    ended = asyncio.Event()
    threads.submit(ThreadCall(function, copy_context(), lambda _: ended.set()))
    return ended
