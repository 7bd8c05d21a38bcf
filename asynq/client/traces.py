"""Where traces of enqueued tasks come from: an instrumentation, such as `asynq.opentelemetry`, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from attrs import frozen

from asynq.client.enqueue import task_info, task_infos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from asynq.client.task import Task
    from asynq.errors import AsynqError
    from asynq.info import TaskInfo
    from asynq.protocol.ops import Enqueue, Op
    from asynq.runtime.sync_async import BrokerCalls

R = TypeVar("R")
G = TypeVar("G")
T = TypeVar("T", bound="Op[Any]")
T_co = TypeVar("T_co", bound="Op[Any]", covariant=True)


class Sending(Protocol[T_co]):
    """Requests that are being sent."""

    @property
    def requests(self) -> Sequence[T_co]:
        """The requests to send, with headers that continue the trace."""
        ...

    def answered(self, answers: Sequence[object]) -> None:
        """What the broker answered to each request: an AsynqError is not raised, but noted."""
        ...


class ProducerTraces(Protocol):
    """Traces of requests that enqueue tasks."""

    def sending(
        self, requests: Sequence[T], *, batch: bool, causes: Sequence[Mapping[str, str]]
    ) -> AbstractContextManager[Sending[T]]:
        """Trace the requests while the context is entered. An error that leaves it is noted.

        Args:
            requests: requests of any kind. Those that enqueue nothing are returned as they are.
            batch: they are one call of a program. Otherwise each is traced by itself.
            causes: for each request, the headers of the task that caused it; empty: the surrounding code did.
        """
        ...


producer: ProducerTraces | None = None
"""The instrumentation in use."""


@frozen
class Untraced(Generic[T]):
    """Requests that are sent as they are."""

    requests: Sequence[T]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def answered(self, answers: Sequence[object]) -> None:
        """Nobody wants to know."""


def sending(
    requests: Sequence[T], *, batch: bool = False, causes: Sequence[Mapping[str, str]] = ()
) -> AbstractContextManager[Sending[T]]:
    """Trace the requests, if there is an instrumentation. See ProducerTraces."""
    if producer is None or not requests:
        return Untraced(requests)
    return producer.sending(requests, batch=batch, causes=causes)


async def enqueue(broker: BrokerCalls, task: Task[R, G], request: Enqueue) -> TaskInfo[R, G]:
    """Send the request for a task. Returns the task as it was enqueued."""
    with sending((request,)) as sent:
        [request] = sent.requests
        return task_info(task, request, await broker.execute(request))


async def enqueue_many(
    broker: BrokerCalls, tasks: Sequence[Task[R, G]], requests: Sequence[Enqueue]
) -> list[TaskInfo[R, G] | AsynqError]:
    """Send the requests for tasks. Returns for each the task as it was enqueued, or its error."""
    with sending(requests, batch=True) as sent:
        answers = await broker.execute_many(sent.requests)
        sent.answered(answers)
        return task_infos(tasks, sent.requests, answers)
