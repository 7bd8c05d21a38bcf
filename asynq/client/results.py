"""`Results`: wait for tasks to end, notified by the broker where it supports that, with a slow poll."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from asynq.checks import check_duration
from asynq.errors import AsynqError, BrokerUnavailable, TaskFailedError, TaskGoneError, TaskNotFoundError
from asynq.info import TaskInfo
from asynq.protocol.ops import GetTask
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff
from asynq.runtime.interval_loop import FALLBACK_POLL_INTERVAL, JITTER, NO_PUSH_POLL_INTERVAL
from asynq.runtime.loop_local import LoopLocal
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from datetime import timedelta

    from asynq.protocol.broker import Broker, Watcher
    from asynq.protocol.message import StoredTask


class Results:
    """Waits for any number of tasks at the same time, with one watcher per event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._rng = random.Random()  # noqa: S311 - it spreads polls
        self._watchers: LoopLocal[Watcher] = LoopLocal(_aclose)

    async def wait(self, info: TaskInfo, timeout: timedelta | None) -> bytes:  # noqa: ASYNC109 - its message
        """The task's result once it is completed; see `Client.wait`."""
        check_waitable(info, timeout)
        look = GetTask(queue=info.queue, task_id=info.id)
        try:
            async with timeouts.timeout(None if timeout is None else timeout.total_seconds()):
                return await self._result(look)
        except TimeoutError:
            raise TimeoutError(
                f"task {info.id!r} of queue {info.queue!r} has not ended within {timeout}"
            ) from None
        except TaskNotFoundError:
            raise TaskGoneError(info.queue, info.id) from None

    async def aclose(self) -> None:
        """Free the watcher of the running event loop."""
        await self._watchers.aclose()

    async def _result(self, look: GetTask) -> bytes:
        result = result_of(await self._broker.aexecute(look))
        backoff = Backoff(self._rng)
        while result is None:
            change, poll = await self._watched(look)
            try:
                # Read again: the task may have changed before it was watched.
                result = result_of(await self._broker.aexecute(look))
                backoff.reset()
                if result is None:
                    await timeouts.wait([change], poll)
            except BrokerUnavailable:
                await asyncio.sleep(backoff.pause())
            finally:
                change.cancel()
        return result

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


def check_waitable(info: object, timeout: timedelta | None) -> None:
    """Raise TypeError or ValueError for a task that cannot be waited for."""
    if not isinstance(info, TaskInfo):
        raise TypeError(f"info must be an asynq.TaskInfo, not {type(info).__name__}")
    if not info.retention:
        raise ValueError(
            f"retention: task {info.id!r} is deleted the moment it is done, so there is nothing to wait for; "
            "enqueue it with retention=..."
        )
    if timeout is not None:
        check_duration("timeout", timeout)


def result_of(stored: StoredTask) -> bytes | None:
    """The result of a completed task; None until it ends. TaskFailedError when it is archived."""
    if stored.state is TaskState.ARCHIVED:
        raise TaskFailedError(stored.message.queue, stored.message.id, stored.message.error)
    if stored.state is TaskState.COMPLETED:
        return stored.result or b""
    return None
