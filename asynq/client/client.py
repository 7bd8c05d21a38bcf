"""`Client` and `AsyncClient`: enqueue tasks, wait for their results, retry them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from asynq.checks import check_name
from asynq.client import traces
from asynq.client.awaited_waits import AwaitedWaits
from asynq.client.blocking_waits import BlockingWaits
from asynq.client.enqueue import compose, compose_many, list_of, task_info
from asynq.client.joins import enqueue_join
from asynq.client.options import EnqueueKeywords, options_of
from asynq.ids import random_id
from asynq.protocol.ops import Ping, RunTask
from asynq.runtime.sync_async import AwaitedCalls, BlockingCalls, completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asynq.client.task import Task
    from asynq.errors import AsynqError
    from asynq.info import TaskInfo
    from asynq.protocol.broker import Broker

R = TypeVar("R")
G = TypeVar("G")


class Client(BlockingWaits):
    """Enqueues tasks and waits for their results. Usable from any thread, and after a fork.

    It connects at the first call. A client that was given a URL owns its broker and closes it; a broker
    object is closed by its caller. The options of each call are those of `asynq.Options`. They
    override the options of the task, except that headers are merged.

    Args:
        broker: a broker, or the URL of one.
        new_id: creates ids of tasks; by default UUIDs of version 7, which begin with the time.

    Raises:
        BrokerURLError: the URL is malformed, or no backend is registered for its scheme.
        TypeError: `broker` is neither a broker nor a URL.
    """

    def __init__(self, broker: Broker | str, *, new_id: Callable[[], str] = random_id) -> None:
        super().__init__(broker)
        self._new_id = new_id

    def enqueue(self, task: Task[R, G], **options: Unpack[EnqueueKeywords]) -> TaskInfo[R, G]:
        """Add the task to its queue: pending, scheduled, or waiting in its group.

        When one of the errors below is raised, nothing was enqueued. After a NotReplicatedError, or a
        BrokerUnavailable with `maybe_applied`, the task may or may not have been enqueued.

        Args:
            task: the task.
            **options: options of this call; see `asynq.Options`.

        Returns:
            The task as it was enqueued.

        Raises:
            TaskIDConflictError: the queue already has a task of this id.
            DuplicateTaskError: the task is unique and another task holds the lock.
            PayloadTooLargeError: the broker does not store tasks of this size.
            ValueError: an option has an invalid value.
            TypeError: an option is unknown or has the wrong type, or `task` is not a Task.
        """
        request = compose(task, options_of("enqueue", options), self._new_id)
        if traces.producer is not None:
            return completed(traces.enqueue(BlockingCalls(self._broker), task, request))
        return task_info(task, request, self._broker.execute(request))

    def enqueue_many(
        self, tasks: Iterable[Task[R, G]], **options: Unpack[EnqueueKeywords]
    ) -> list[TaskInfo[R, G] | AsynqError]:
        """Enqueue any number of tasks in few round trips.

        Tasks of one queue keep their order. An invalid task or option is refused before anything is sent.

        Args:
            tasks: the tasks, for any queues.
            **options: options of this call, for all tasks; see `asynq.Options`.

        Returns:
            For each task, in order, its TaskInfo or its error.

        Raises:
            ValueError: an option of any task has an invalid value; a note names the task.
            TypeError: an option of any task is unknown or has the wrong type; a note names the task.
        """
        asked = list_of(tasks)
        requests = compose_many(asked, options_of("enqueue_many", options), self._new_id)
        return completed(traces.enqueue_many(BlockingCalls(self._broker), asked, requests))

    def enqueue_join(self, tasks: Iterable[Task[Any, Any]], *, then: Task[R, G]) -> TaskInfo[R, G]:
        """Enqueue tasks, and one that follows all of them: it runs once, when all have succeeded.

        Its handler reads their results, in the order of the tasks, with `Context.passed_results`. Until then
        it is `scheduled`, `waiting` is true, and `TaskInfo.awaits` shows which tasks are missing.

        When an error is raised, `then` does not run; some of the tasks may have been enqueued.

        Args:
            tasks: from 1 to 500 tasks, for any queues. Their ids are random.
            then: the task that follows them.

        Returns:
            The task that follows.

        Raises:
            TaskIDConflictError: the queue already has a task of the id of `then`.
            PayloadTooLargeError: the broker does not store tasks of this size.
            ValueError: there are too many tasks or none, or one has an option that it cannot have here.
            TypeError: a task is not a Task.
        """
        capabilities = self._broker.capabilities
        joining = enqueue_join(BlockingCalls(self._broker), capabilities, self._new_id, tasks, then)
        return completed(joining)

    def retry(self, queue: str, task_id: str) -> None:
        """Run an archived, completed, scheduled, retried or aggregating task now; see `Inspector.run_task`.

        Args:
            queue: name of the queue.
            task_id: id of the task.

        Raises:
            TaskNotFoundError: the queue has no task of this id.
            TaskStateError: the task is active, pending or held by an aggregator.
        """
        self._broker.execute(_run_task(queue, task_id))

    def ping(self) -> None:
        """Check that the broker can be reached; raise its error if not."""
        self._broker.execute(Ping())

    def close(self) -> None:
        """Free the client's resources and end pending `wait` calls. Using the client again reconnects."""
        self._portal.close()
        super().close()


def _run_task(queue: str, task_id: str) -> RunTask:
    check_name("queue", queue)
    check_name("task_id", task_id)
    return RunTask(queue=queue, task_id=task_id)


class AsyncClient(AwaitedWaits):
    """`Client` for asyncio: the same methods with the same guarantees, on any event loop.

    Args:
        broker: a broker, or the URL of one.
        new_id: creates ids of tasks; by default UUIDs of version 7, which begin with the time.
    """

    def __init__(self, broker: Broker | str, *, new_id: Callable[[], str] = random_id) -> None:
        super().__init__(broker)
        self._new_id = new_id

    async def enqueue(self, task: Task[R, G], **options: Unpack[EnqueueKeywords]) -> TaskInfo[R, G]:
        """See `Client.enqueue`. If the call is cancelled, the task may or may not have been enqueued."""
        request = compose(task, options_of("enqueue", options), self._new_id)
        if traces.producer is not None:
            return await traces.enqueue(AwaitedCalls(self._broker), task, request)
        return task_info(task, request, await self._broker.aexecute(request))

    async def enqueue_many(
        self, tasks: Iterable[Task[R, G]], **options: Unpack[EnqueueKeywords]
    ) -> list[TaskInfo[R, G] | AsynqError]:
        """See `Client.enqueue_many`."""
        asked = list_of(tasks)
        requests = compose_many(asked, options_of("enqueue_many", options), self._new_id)
        return await traces.enqueue_many(AwaitedCalls(self._broker), asked, requests)

    async def enqueue_join(self, tasks: Iterable[Task[Any, Any]], *, then: Task[R, G]) -> TaskInfo[R, G]:
        """See `Client.enqueue_join`."""
        capabilities = self._broker.capabilities
        return await enqueue_join(AwaitedCalls(self._broker), capabilities, self._new_id, tasks, then)

    async def retry(self, queue: str, task_id: str) -> None:
        """See `Client.retry`."""
        await self._broker.aexecute(_run_task(queue, task_id))

    async def ping(self) -> None:
        """See `Client.ping`."""
        await self._broker.aexecute(Ping())

    async def aclose(self) -> None:
        """Free the client's resources on the running event loop. Using the client again reconnects."""
        await self._results.aclose()
        await super().aclose()
