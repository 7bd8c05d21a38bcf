"""`Results`: wait for tasks to end, notified by the broker where it supports that, with a slow poll."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

from asynq.checks import check_duration, check_name
from asynq.errors import AsynqError, BrokerUnavailable, TaskFailedError, TaskGoneError, TaskNotFoundError
from asynq.info import TaskInfo
from asynq.protocol.followers import own_retention
from asynq.protocol.ops import GetTask
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff
from asynq.runtime.interval_loop import FALLBACK_POLL_INTERVAL, JITTER, NO_PUSH_POLL_INTERVAL
from asynq.runtime.loop_local import LoopLocal
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
    from datetime import timedelta

    from asynq.protocol.broker import Broker, Watcher
    from asynq.protocol.message import StoredTask

_ENDED = (TaskState.COMPLETED, TaskState.ARCHIVED)


class Results:
    """Waits for any number of tasks at the same time, with one watcher per event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rng = random.Random()  # noqa: S311 - it spreads polls
        self._watchers: LoopLocal[Watcher] = LoopLocal(_aclose)

    async def wait(self, look: GetTask, timeout: timedelta | None) -> StoredTask:  # noqa: ASYNC109 - its message
        """The task once it is completed or archived. TaskGoneError; see `Client.wait`."""
        return await _bounded(self._ended(look), look, _Limit(timeout))

    async def stream(
        self,
        look: GetTask,
        timeout: timedelta | None,  # noqa: ASYNC109 - its message
    ) -> AsyncGenerator[bytes, None]:
        """What the task's runs write until it ends; see `Client.stream`."""
        limit, shown = _Limit(timeout), None
        stored = await _bounded(self._first(look), look, limit)
        while stored.state not in _ENDED:
            if stored.result is not None and stored.result != shown:
                shown = stored.result
                yield shown
            stored = await _bounded(self._next(look, _changed_from(shown)), look, limit)
        result_of(stored)

    async def as_completed(
        self,
        infos: Sequence[TaskInfo],
        timeout: timedelta | None,  # noqa: ASYNC109 - its message
    ) -> AsyncGenerator[tuple[TaskInfo, StoredTask | TaskGoneError], None]:
        """Each task with what it ended as, in the order in which they end; see `Client.as_completed`."""
        limit = _Limit(timeout)
        waits = {asyncio.ensure_future(self._end_of(info)): info for info in infos}
        left = set(waits)
        try:
            while left:
                done, left = await timeouts.wait(left, limit.left(), return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    raise TimeoutError(f"{len(left)} of {len(waits)} tasks have not ended within {timeout}")
                for each, info in waits.items():
                    if each in done:
                        yield info, each.result()
        finally:
            for each in waits:
                each.cancel()

    async def aclose(self) -> None:
        """Free the watcher of the running event loop."""
        await self._watchers.aclose()

    async def _end_of(self, info: TaskInfo) -> StoredTask | TaskGoneError:
        try:
            return await self.wait(GetTask(queue=info.queue, task_id=info.id), None)
        except TaskGoneError as error:
            return error.with_traceback(None)

    async def _ended(self, look: GetTask) -> StoredTask:
        stored = await self._first(look)
        return stored if stored.state in _ENDED else await self._next(look, _has_ended)

    async def _first(self, look: GetTask) -> StoredTask:
        """The task as it is now. An error of the broker is raised: it was never reached."""
        stored = await self._broker.aexecute(look)
        if stored.state not in _ENDED and not own_retention(stored.message):
            raise _unkept(look.task_id)
        return stored

    async def _next(self, look: GetTask, wanted: Callable[[StoredTask], bool]) -> StoredTask:
        """The task as soon as it is as wanted. While the broker is unavailable, this waits for it."""
        backoff = Backoff(self._rng)
        while True:
            change, poll = await self._watched(look)
            try:
                # Read again: the task may have changed before it was watched.
                stored = await self._broker.aexecute(look)
                backoff.reset()
                if wanted(stored):
                    return stored
                await timeouts.wait([change], poll)
            except BrokerUnavailable:
                await asyncio.sleep(backoff.pause())
            finally:
                change.cancel()

    async def _watched(self, look: GetTask) -> tuple[asyncio.Future[None], float]:
        """The task's next change, and the seconds after which to read the task in any case."""
        try:
            watcher = self._watchers.get(self._broker.watcher)
            change, poll = await watcher.watch(look.queue, look.task_id), FALLBACK_POLL_INTERVAL
        except AsynqError:
            change, poll = asyncio.get_running_loop().create_future(), NO_PUSH_POLL_INTERVAL
        return change, poll * self._rng.uniform(1 - JITTER, 1 + JITTER)


async def _aclose(watcher: Watcher) -> None:
    await watcher.aclose()


class _Limit:
    """The time that is left of a timeout. It begins when this object is made."""

    def __init__(self, timeout: timedelta | None) -> None:
        self.timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._end = None if timeout is None else self._loop.time() + timeout.total_seconds()

    def left(self) -> float | None:
        return None if self._end is None else max(self._end - self._loop.time(), 0.0)


async def _bounded(work: Coroutine[Any, Any, StoredTask], look: GetTask, limit: _Limit) -> StoredTask:
    """What the work returns within the limit. TimeoutError and TaskGoneError name the task."""
    try:
        async with timeouts.timeout(limit.left()):
            return await work
    except TimeoutError:
        raise TimeoutError(
            f"task {look.task_id!r} of queue {look.queue!r} has not ended within {limit.timeout}"
        ) from None
    except TaskNotFoundError:
        raise TaskGoneError(look.queue, look.task_id) from None


def _has_ended(stored: StoredTask) -> bool:
    return stored.state in _ENDED


def _changed_from(shown: bytes | None) -> Callable[[StoredTask], bool]:
    return lambda stored: stored.state in _ENDED or stored.result not in (None, shown)


def check_timeout(timeout: timedelta | None) -> None:
    """Raise TypeError or ValueError for an invalid timeout."""
    if timeout is not None:
        check_duration("timeout", timeout)


def get_task(task_id: str, queue: str) -> GetTask:
    """The request for a task. TypeError, ValueError."""
    check_name("task_id", task_id)
    check_name("queue", queue)
    return GetTask(queue=queue, task_id=task_id)


def look_at(info: TaskInfo | None, task_id: str | None, queue: str) -> GetTask:
    """The request for a task to wait for, which is given as one or the other. TypeError, ValueError."""
    if task_id is not None:
        if info is not None:
            raise TypeError("info and task_id must not both be given")
        return get_task(task_id, queue)
    if isinstance(info, str):
        raise TypeError("info must be an asynq.TaskInfo, not str: pass an id as task_id=...")
    [info] = waitable([info])
    return GetTask(queue=info.queue, task_id=info.id)


def waitable(infos: Iterable[TaskInfo | None]) -> list[TaskInfo]:
    """The tasks. TypeError or ValueError when one of them cannot be waited for."""
    tasks = []
    for info in infos:
        if not isinstance(info, TaskInfo):
            raise TypeError(f"info must be an asynq.TaskInfo, not {type(info).__name__}")
        if not info.retention and info.state not in _ENDED:
            raise _unkept(info.id)
        tasks.append(info)
    return tasks


def _unkept(task_id: str) -> ValueError:
    return ValueError(
        f"retention: task {task_id!r} is deleted the moment it is done, so there is nothing to wait for; "
        "enqueue it with retention=..."
    )


def result_of(stored: StoredTask) -> bytes:
    """The result of a completed task. TaskFailedError when it is archived."""
    if stored.state is TaskState.ARCHIVED:
        raise TaskFailedError(stored.message.queue, stored.message.id, stored.message.error)
    return stored.result or b""
