"""`AwaitedWaits`: the methods of `AsyncClient` that read tasks, wait for results and follow progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asynq.client.ended_task import EndedTask, decoded, decoder_of, ended_task, types_of
from asynq.client.results import Results, check_timeout, get_task, look_at, result_of, waitable
from asynq.info import TaskInfo
from asynq.protocol.broker_owner import AsyncBrokerOwner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from datetime import timedelta

    from asynq.client.task_type import TaskDefinition
    from asynq.protocol.broker import Broker

R = TypeVar("R")
G = TypeVar("G")
T = TypeVar("T")


class AwaitedWaits(AsyncBrokerOwner):
    """The part of `AsyncClient` that reads tasks and waits for them."""

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker)
        self._results = Results(self._broker)

    @overload
    async def get(
        self, task_id: str, queue: str = "default", *, task_type: None = None
    ) -> TaskInfo[bytes, bytes]: ...

    @overload
    async def get(
        self, task_id: str, queue: str = "default", *, task_type: TaskDefinition[R, G]
    ) -> TaskInfo[R, G]: ...

    async def get(
        self, task_id: str, queue: str = "default", *, task_type: TaskDefinition | None = None
    ) -> TaskInfo[Any, Any]:
        """See `Client.get`."""
        types = types_of(task_type)
        return TaskInfo.of(await self._broker.aexecute(get_task(task_id, queue)), types)

    @overload
    async def wait(
        self,
        info: TaskInfo[R],
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        task_id: None = None,
        queue: str = "default",
        result: None = None,
    ) -> R: ...

    @overload
    async def wait(
        self,
        info: None = None,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: None = None,
    ) -> bytes: ...

    @overload
    async def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: type[T] | TaskDefinition[T, Any],
    ) -> T: ...

    @overload
    async def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: object,
    ) -> Any: ...

    async def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: Any = None,
    ) -> Any:
        """See `Client.wait`."""
        look, decode = look_at(info, task_id, queue), decoder_of(result, info)
        check_timeout(timeout)
        return decode(look.task_id, result_of(await self._results.wait(look, timeout)))

    @overload
    def stream(
        self,
        info: TaskInfo[Any, G],
        timeout: timedelta | None = None,
        *,
        task_id: None = None,
        queue: str = "default",
        progress: None = None,
    ) -> AsyncGenerator[G, None]: ...

    @overload
    def stream(
        self,
        info: None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: None = None,
    ) -> AsyncGenerator[bytes, None]: ...

    @overload
    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: type[T] | TaskDefinition[Any, T],
    ) -> AsyncGenerator[T, None]: ...

    @overload
    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: object,
    ) -> AsyncGenerator[Any, None]: ...

    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: Any = None,
    ) -> AsyncGenerator[Any, None]:
        """See `Client.stream`; for `async for`."""
        look, decode = look_at(info, task_id, queue), decoder_of(progress, info, "progress")
        check_timeout(timeout)
        return decoded(self._results.stream(look, timeout), partial(decode, look.task_id))

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo[R]],
        timeout: timedelta | None = None,
        *,
        result: None = None,
    ) -> AsyncGenerator[EndedTask[R], None]: ...

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: type[T] | TaskDefinition[T, Any],
    ) -> AsyncGenerator[EndedTask[T], None]: ...

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: object,
    ) -> AsyncGenerator[EndedTask[Any], None]: ...

    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: Any = None,
    ) -> AsyncGenerator[EndedTask[Any], None]:
        """See `Client.as_completed`; for `async for`."""
        tasks, _ = waitable(infos), decoder_of(result, None)
        check_timeout(timeout)
        return decoded(self._results.as_completed(tasks, timeout), partial(ended_task, result))
