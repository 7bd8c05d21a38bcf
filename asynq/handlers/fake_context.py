"""`FakeContext`: a context without a run, for tests that call a handler themselves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from attrs import define

from asynq.client.payload import encode_payload
from asynq.handlers.context import Context, S_co
from asynq.handlers.outcome import Cancelled
from asynq.handlers.resources import Resources
from asynq.instants import instant_of
from asynq.protocol.connect import resolve
from asynq.protocol.message import Delivery, TaskMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from asynq.handlers.context import StopOutcome
    from asynq.handlers.executors import Executors
    from asynq.protocol.broker import Broker

T = TypeVar("T")


class FakeContext(Context[S_co]):
    """A context without a run, for tests that call the function of a handler.

    `ctx.client` enqueues on the broker, and `results` holds what the function wrote.

    Args:
        broker: a broker, or the URL of one.
        state: what the handler gets as `ctx.state`.
        task_id: id of the task.
        queue: name of the queue of the task.
        headers: headers of the task.
        retried: number of retries so far.
        max_retry: retries that the task may spend.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        state: S_co | None = None,
        task_id: str = "fake",
        queue: str = "default",
        headers: Mapping[str, str] | None = None,
        retried: int = 0,
        max_retry: int = 25,
    ) -> None:
        message = TaskMessage(
            id=task_id,
            type="fake",
            queue=queue,
            headers=dict(headers or {}),
            retried=retried,
            max_retry=max_retry,
        )
        delivery = Delivery(message=message, token="fake", expires_at=0)
        store, _ = resolve(broker)
        super().__init__(_FakeControl(delivery, store, Resources(store, state)))
        self.results: list[bytes] = []
        """What was written with `write_result`, in its stored form, oldest first."""

    def cancel(self) -> None:
        """Let the handler see a cancellation by an operator."""
        self.control.stop = Cancelled("archive")

    async def write_result(self, result: object) -> None:
        """Add a value to `results`."""
        self.write_result_sync(result)

    def write_result_sync(self, result: object) -> None:
        """Add a value to `results`."""
        self.results.append(encode_payload(result, "result", verified=False))


@define
class _FakeControl:
    delivery: Delivery
    broker: Broker
    resources: Resources
    stop: StopOutcome | None = None

    @property
    def deadline(self) -> datetime:
        return instant_of(0) + timedelta(days=365 * 100)

    @property
    def executors(self) -> Executors:
        raise LookupError("a fake context has no threads and processes of a server")

    def shorten(self, timeout: int) -> None:
        pass

    async def call_in_thread(self, function: Callable[[], T], kill: Callable[[], None] | None = None) -> T:  # noqa: ARG002 - nothing kills it
        return await asyncio.to_thread(function)
