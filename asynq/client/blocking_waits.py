"""`BlockingWaits`: the methods of `Client` that read tasks, wait for results and follow progress."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from asynq.client.ended_task import EndedTask, decoded, decoder_of, ended_task, types_of
from asynq.client.results import Results, check_timeout, get_task, look_at, result_of, waitable
from asynq.info import TaskInfo
from asynq.protocol.broker_owner import BrokerOwner
from asynq.runtime.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from datetime import timedelta

    from asynq.client.task_type import TaskDefinition
    from asynq.protocol.broker import Broker

R = TypeVar("R")
G = TypeVar("G")
T = TypeVar("T")


class BlockingWaits(BrokerOwner):
    """The part of `Client` that reads tasks and waits for them."""

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker)
        self._results = Results(self._broker)
        self._portal = LoopThread(partial(_close_async, self._results, self._broker))

    @overload
    def get(
        self, task_id: str, queue: str = "default", *, task_type: None = None
    ) -> TaskInfo[bytes, bytes]: ...

    @overload
    def get(
        self, task_id: str, queue: str = "default", *, task_type: TaskDefinition[R, G]
    ) -> TaskInfo[R, G]: ...

    def get(
        self, task_id: str, queue: str = "default", *, task_type: TaskDefinition | None = None
    ) -> TaskInfo[Any, Any]:
        """Read a task: its state, its progress or result, its last error.

        Args:
            task_id: id of the task.
            queue: name of its queue.
            task_type: its definition: a `TaskType` or a function that is a task. `wait` and `stream` decode
                to the types that it declares.

        Returns:
            The task as it is now.

        Raises:
            TaskNotFoundError: the queue has no task of this id.
            TypeError: `task_type` is no definition.
        """
        types = types_of(task_type)
        return TaskInfo.of(self._broker.execute(get_task(task_id, queue)), types)

    @overload
    def wait(
        self,
        info: TaskInfo[R],
        timeout: timedelta | None = None,
        *,
        task_id: None = None,
        queue: str = "default",
        result: None = None,
    ) -> R: ...

    @overload
    def wait(
        self,
        info: None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: None = None,
    ) -> bytes: ...

    @overload
    def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: type[T] | TaskDefinition[T, Any],
    ) -> T: ...

    @overload
    def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: object,
    ) -> Any: ...

    def wait(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        result: Any = None,
    ) -> Any:
        """Wait until the task is completed, by any worker, including Go workers.

        While the broker is unavailable the call waits for it to return. The task continues after a
        TimeoutError. Either `info` or `task_id` must be given.

        Args:
            info: the task, as returned by `enqueue`. It must have a retention.
            timeout: the longest time to wait; None for no limit.
            task_id: id of the task, in place of `info`.
            queue: name of the queue of `task_id`.
            result: type to which the result is decoded: any type that a handler may declare for its payload,
                or the definition that declares it, a `TaskType` or a function that is a task. By default
                the type that the definition of `info` declares.

        Returns:
            The result as a value of its type. Without one: bytes, b"" if the handler returned None.

        Raises:
            TimeoutError: the task did not end within `timeout`.
            TaskFailedError: the task was archived; the error contains the task's last error.
            TaskGoneError: the task was deleted or revoked, or its retention is over; or there never was one.
            ResultError: the result cannot be decoded as the type `result`.
            ValueError: the task has no retention, so it is deleted as soon as it is done; or `timeout` is
                negative.
            TypeError: the type `result` cannot be decoded, or an argument has the wrong type.
        """
        look, decode = look_at(info, task_id, queue), decoder_of(result, info)
        check_timeout(timeout)
        stored = self._portal.run(lambda: self._results.wait(look, timeout))
        return decode(look.task_id, result_of(stored))

    @overload
    def stream(
        self,
        info: TaskInfo[Any, G],
        timeout: timedelta | None = None,
        *,
        task_id: None = None,
        queue: str = "default",
        progress: None = None,
    ) -> Generator[G, None, None]: ...

    @overload
    def stream(
        self,
        info: None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: None = None,
    ) -> Generator[bytes, None, None]: ...

    @overload
    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: type[T] | TaskDefinition[Any, T],
    ) -> Generator[T, None, None]: ...

    @overload
    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: object,
    ) -> Generator[Any, None, None]: ...

    def stream(
        self,
        info: TaskInfo | None = None,
        timeout: timedelta | None = None,
        *,
        task_id: str | None = None,
        queue: str = "default",
        progress: Any = None,
    ) -> Generator[Any, None, None]:
        """Iterate over the progress of a task: what its handler writes with `ctx.write_result`, to its end.

        The first item is the present progress, if there is any. Each change is one item; of changes in quick
        succession only the latest is certain to be one. A retry keeps the progress of the run before until
        the handler writes again. The iteration ends when the task is completed: `wait` then returns its
        result at once, which is not an item. While the broker is unavailable the iteration waits for it.

        Args:
            info: the task, as for `wait`.
            timeout: the longest time until the task ends, counted from the first item on.
            task_id: id of the task, in place of `info`.
            queue: name of the queue of `task_id`.
            progress: type to which the items are decoded, as `result` of `wait`.

        Returns:
            An iterator of values of that type. Without one: of bytes.

        Raises:
            ResultError: an item cannot be decoded as the type `progress`.
            TimeoutError, TaskFailedError, TaskGoneError, ValueError, TypeError: as `wait`.
        """
        look, decode = look_at(info, task_id, queue), decoder_of(progress, info, "progress")
        check_timeout(timeout)
        return self._portal.iterate(
            decoded(self._results.stream(look, timeout), partial(decode, look.task_id))
        )

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo[R]],
        timeout: timedelta | None = None,
        *,
        result: None = None,
    ) -> Generator[EndedTask[R], None, None]: ...

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: type[T] | TaskDefinition[T, Any],
    ) -> Generator[EndedTask[T], None, None]: ...

    @overload
    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: object,
    ) -> Generator[EndedTask[Any], None, None]: ...

    def as_completed(
        self,
        infos: Iterable[TaskInfo],
        timeout: timedelta | None = None,
        *,
        result: Any = None,
    ) -> Generator[EndedTask[Any], None, None]:
        """Iterate over tasks in the order in which they end.

        Args:
            infos: the tasks, as returned by `enqueue`. Each must have a retention.
            timeout: the longest time until all have ended, counted from the first item on.
            result: type to which the results are decoded, as for `wait`.

        Returns:
            An iterator of one EndedTask for each task. A failed task does not end the iteration: `result()`
            of its item raises the error.

        Raises:
            TimeoutError: not all tasks have ended within `timeout`.
            BrokerUnavailable: the broker cannot be reached at the start. Later the iteration waits for it.
            ValueError: a task has no retention, or `timeout` is negative.
            TypeError: the type `result` cannot be decoded, or an argument has the wrong type.
        """
        tasks, _ = waitable(infos), decoder_of(result, None)
        check_timeout(timeout)
        return self._portal.iterate(
            decoded(self._results.as_completed(tasks, timeout), partial(ended_task, result))
        )


async def _close_async(results: Results, broker: Broker) -> None:
    await results.aclose()
    await broker.aclose()
