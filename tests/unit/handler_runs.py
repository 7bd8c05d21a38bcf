"""Deliveries and handler runs for tests, with the test's own clock, threads and broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from attrs import Factory, frozen

from asynq.clock import FakeClock
from asynq.handlers.executors import Executors
from asynq.handlers.processes.pool import ProcessPool
from asynq.handlers.runner import Run
from asynq.protocol.message import Delivery, TaskMessage

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from asynq.handlers.adapters import Handler
    from asynq.handlers.outcome import Outcome
    from asynq.protocol.ops import Op

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


@frozen
class Runs:
    """Creates runs of handlers."""

    threads: Executor
    processes: ProcessPool = Factory(ProcessPool)
    broker: Any = Factory(RecordingBroker)
    clock: FakeClock = Factory(FakeClock)

    def make(self, handler: Handler, delivered: Delivery | None = None, *, grace: float = GRACE) -> Run:
        return Run(
            delivered or delivery(),
            handler,
            broker=self.broker,
            executors=Executors(self.threads, self.processes),
            clock=self.clock,
            grace=grace,
        )

    async def outcome(self, handler: Handler, delivered: Delivery | None = None) -> Outcome:
        return await self.make(handler, delivered).execute()


async def started(run: Run) -> asyncio.Task[Outcome]:
    """Start a run. An async handler has reached its first wait when this returns."""
    execution = asyncio.create_task(run.execute())
    for _ in range(5):
        await asyncio.sleep(0)
    return execution
