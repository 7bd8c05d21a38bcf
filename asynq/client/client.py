"""Clients: the same few verbs, called or awaited. What they ask and answer is `asynq.client.enqueue`'s."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload
from uuid import uuid4

from asynq.checks import check_name
from asynq.client.enqueue import compose, compose_many, task_info, task_infos
from asynq.client.options import EnqueueKeywords, options_of
from asynq.client.payload import result_decoder
from asynq.client.results import Results, check_waitable
from asynq.protocol.connect import resolve
from asynq.protocol.ops import Ping, RunTask
from asynq.runtime.loop_thread import Portal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from asynq.client.task import Task
    from asynq.errors import AsynqError
    from asynq.info import TaskInfo
    from asynq.protocol.broker import Broker

R = TypeVar("R")


def random_id() -> str:
    """A new random id."""
    return str(uuid4())


class Client:
    """Enqueues tasks. Usable from any thread, and after a fork.

    Connects when first used. The client owns a broker that it got as a URL, and closes it; a broker object
    stays its caller's. The options of each call are those of `asynq.client.options.Options`; they override
    the task's own, except that headers accumulate.
    """

    def __init__(self, broker: Broker | str, *, new_id: Callable[[], str] = random_id) -> None:
        self._broker, self._owned = resolve(broker)
        self._new_id = new_id
        self._results = Results(self._broker)
        self._portal = Portal(partial(_close_async, self._results, self._broker))

    def enqueue(self, task: Task, **options: Unpack[EnqueueKeywords]) -> TaskInfo:
        """Make the task known to its queue: pending, scheduled, or waiting in its group.

        TaskIDConflictError when the queue already knows its id, DuplicateTaskError when it is unique and
        another one holds the lock, PayloadTooLargeError when the broker does not store tasks of that size;
        ValueError or TypeError for misuse. Then nothing was enqueued.
        """
        request = compose(task, options_of("enqueue", options), self._new_id)
        return task_info(request, self._broker.execute(request))

    def enqueue_many(
        self, tasks: Iterable[Task], **options: Unpack[EnqueueKeywords]
    ) -> list[TaskInfo | AsynqError]:
        """Enqueue any mix of tasks in few round trips: for each, in order, its TaskInfo or its error.

        Tasks of one queue keep their order. Misuse in any of them raises ValueError or TypeError before
        anything is sent, with a note that says which.
        """
        requests = compose_many(tasks, options_of("enqueue_many", options), self._new_id)
        return task_infos(requests, self._broker.execute_many(requests))

    @overload
    def wait(self, info: TaskInfo, timeout: timedelta | None = None, *, result: None = None) -> bytes: ...

    @overload
    def wait(self, info: TaskInfo, timeout: timedelta | None = None, *, result: type[R]) -> R: ...

    @overload
    def wait(self, info: TaskInfo, timeout: timedelta | None = None, *, result: object) -> Any: ...

    def wait(self, info: TaskInfo, timeout: timedelta | None = None, *, result: Any = None) -> Any:
        """Wait for the task to be completed: its result, b"" if its handler returned none.

        With `result`, a type that a handler may declare for its payload, the result is decoded to a value of
        it: ResultError when that fails, TypeError at once for a type that cannot be decoded.

        Whoever completes it, Go workers too; a broker that goes away meanwhile is waited for. TimeoutError
        when it takes longer than `timeout`; the task goes on. TaskFailedError, with the task's last error,
        when it is archived; TaskGoneError when it was deleted or revoked, or its retention is over.
        ValueError for a task without retention: nothing of it would be left to see.
        """
        decode = _result_decoder(result)
        check_waitable(info, timeout)
        return decode(info.id, self._portal.run(lambda: self._results.wait(info, timeout)))

    def retry(self, queue: str, task_id: str) -> None:
        """Let a task that is archived, completed or waits run now: `Inspector.run_task`."""
        self._broker.execute(_run_task(queue, task_id))

    def ping(self) -> None:
        """Return if the broker can be reached, else raise its error."""
        self._broker.execute(Ping())

    def close(self) -> None:
        """Free what the client owns; a `wait` under way ends. Using it again connects again."""
        self._portal.close()
        if self._owned:
            self._broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._broker!r})"


def _run_task(queue: str, task_id: str) -> RunTask:
    check_name("queue", queue)
    check_name("task_id", task_id)
    return RunTask(queue=queue, task_id=task_id)


async def _close_async(results: Results, broker: Broker) -> None:
    await results.aclose()
    await broker.aclose()


class AsyncClient:
    """`Client`, awaited: the same verbs with the same promises, from any event loop."""

    def __init__(self, broker: Broker | str, *, new_id: Callable[[], str] = random_id) -> None:
        self._broker, self._owned = resolve(broker)
        self._new_id = new_id
        self._results = Results(self._broker)

    async def enqueue(self, task: Task, **options: Unpack[EnqueueKeywords]) -> TaskInfo:
        """See `Client.enqueue`. When the call is cancelled, the task may or may not have been enqueued."""
        request = compose(task, options_of("enqueue", options), self._new_id)
        return task_info(request, await self._broker.aexecute(request))

    async def enqueue_many(
        self, tasks: Iterable[Task], **options: Unpack[EnqueueKeywords]
    ) -> list[TaskInfo | AsynqError]:
        """See `Client.enqueue_many`."""
        requests = compose_many(tasks, options_of("enqueue_many", options), self._new_id)
        return task_infos(requests, await self._broker.aexecute_many(requests))

    @overload
    async def wait(
        self,
        info: TaskInfo,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        result: None = None,
    ) -> bytes: ...

    @overload
    async def wait(
        self,
        info: TaskInfo,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        result: type[R],
    ) -> R: ...

    @overload
    async def wait(
        self,
        info: TaskInfo,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        result: object,
    ) -> Any: ...

    async def wait(
        self,
        info: TaskInfo,
        timeout: timedelta | None = None,  # noqa: ASYNC109 - as Client's
        *,
        result: Any = None,
    ) -> Any:
        """See `Client.wait`."""
        decode = _result_decoder(result)
        return decode(info.id, await self._results.wait(info, timeout))

    async def retry(self, queue: str, task_id: str) -> None:
        """See `Client.retry`."""
        await self._broker.aexecute(_run_task(queue, task_id))

    async def ping(self) -> None:
        """See `Client.ping`."""
        await self._broker.aexecute(Ping())

    async def aclose(self) -> None:
        """Free what the client owns for the running event loop. Using it again connects again."""
        await self._results.aclose()
        if self._owned:
            await self._broker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._broker!r})"


def _result_decoder(kind: Any) -> Callable[[str, bytes], Any]:
    return result_decoder(kind) if kind is not None else lambda _, stored: stored
