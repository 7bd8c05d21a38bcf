"""Cancelling a task that runs, wherever it runs, also when the worker was not told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import pytest
import redis

from asynq import AsyncInspector, Context, Task, TaskState
from tests.server.conftest import ServerLab, open_broker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import Worker
    from tests.servers import RedisServer


class Endless:
    """A handler that runs until it is told to end."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.runs = 0
        self.ended = False

    async def __call__(self, ctx: Context, task: Task) -> None:
        self.runs += 1
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended = True


@pytest.mark.parametrize(("then", "state"), [("archive", TaskState.ARCHIVED), ("retry", TaskState.RETRY)])
@pytest.mark.parametrize("queue", ["default", None])
async def test_a_cancelled_run_ends_at_once_and_its_task_is_archived_or_retried(
    lab: ServerLab, queue: str | None, then: Literal["archive", "retry"], state: TaskState
) -> None:
    handler = Endless()
    async with lab.serving(handler, lease=timedelta(hours=1)):
        task_id = await lab.enqueue()
        await handler.begun.wait()
        assert await AsyncInspector(lab.broker).cancel(task_id, queue, then=then)
        stored = await lab.reaches(task_id, state)
    assert handler.ended
    assert "cancelled" in stored.message.error


async def test_a_task_that_is_not_running_is_not_cancelled(lab: ServerLab) -> None:
    inspector = AsyncInspector(lab.broker)
    task_id = await lab.enqueue()
    assert not await inspector.cancel(task_id)
    assert not await inspector.cancel("missing")
    handler = Endless()
    async with lab.serving(handler, shutdown_timeout=timedelta(milliseconds=10)):
        await handler.begun.wait()
        assert not handler.ended


async def test_a_worker_in_another_process_receives_a_cancellation(
    shared: ServerLab, shared_url: str, start_worker: Callable[..., Worker]
) -> None:
    # It would see the record when it extends the lease, in twenty minutes.
    worker = start_worker(lease=3600)
    task_id = await shared.enqueue("wait")
    await aeventually(lambda: worker.runs)
    if shared_url.startswith("redis"):  # it may run its first task before it has subscribed
        client = redis.Redis.from_url(shared_url)
        await aeventually(lambda: client.pubsub_numsub("asynq:cancel")[0][1])
        client.close()
    assert await AsyncInspector(shared.broker).cancel(task_id)
    await shared.reaches(task_id, TaskState.ARCHIVED)


async def test_a_missed_cancellation_is_found_when_the_lease_is_extended(
    redis_server: RedisServer,
) -> None:
    lab = ServerLab(open_broker(redis_server.url))
    handler = Endless()
    async with lab.serving(handler, lease=timedelta(seconds=2)):
        task_id = await lab.enqueue()
        await handler.begun.wait()
        # The record alone, as if the message had been lost.
        redis_server.client.hset(f"asynq:{{default}}:t:{task_id}", "cancel", "archive")
        await lab.reaches(task_id, TaskState.ARCHIVED)
    await lab.broker.aclose()


async def test_a_cancellation_message_of_go_retries_the_task(redis_server: RedisServer) -> None:
    lab = ServerLab(open_broker(redis_server.url))
    handler = Endless()
    async with lab.serving(handler):
        task_id = await lab.enqueue()
        await handler.begun.wait()
        await aeventually(lambda: redis_server.client.publish("asynq:cancel", task_id))
        await lab.reaches(task_id, TaskState.RETRY)
    await lab.broker.aclose()
