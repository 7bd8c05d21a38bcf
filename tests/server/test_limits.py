"""How many tasks of a queue run at once, in one server and in several."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from attrs import Factory, define

from asynq.errors import RateLimited
from asynq.handlers.limits import RateLimit, Semaphore
from asynq.handlers.mux import ServeMux
from asynq.protocol.ops import AcquireSlot, Dequeue, GetQueueStats
from asynq.task_state import TaskState
from tests.unit import process_handlers
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from tests.server.conftest import ServerLab

ACTIVE, RETRY = TaskState.ACTIVE, TaskState.RETRY


@define
class Gauge:
    """A handler that notes how many of its runs overlap, by queue."""

    expected: int
    running: Counter[str] = Factory(Counter)
    peak: Counter[str] = Factory(Counter)
    done: int = 0
    release: asyncio.Event = Factory(asyncio.Event)

    async def __call__(self, ctx: Context, task: Task) -> None:
        self.running[ctx.queue] += 1
        self.peak |= self.running
        await self.release.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        self.running[ctx.queue] -= 1
        self.done += 1

    def finished(self) -> bool:
        return self.done == self.expected


async def test_a_server_runs_no_more_tasks_of_a_queue_than_its_limit(lab: ServerLab) -> None:
    gauge = Gauge(24)
    queues = {"low": 5, "default": 1}
    async with lab.serving(gauge, concurrency=6, queues=queues, queue_limits={"low": 2}):
        for _ in range(12):
            await lab.enqueue(queue="low")
            await lab.enqueue()
        await aeventually(lambda: gauge.running == {"low": 2, "default": 4})
        gauge.release.set()
        await aeventually(gauge.finished)
    assert gauge.peak["low"] == 2


async def test_a_limited_queue_is_drained_when_no_other_queue_has_tasks(lab: ServerLab) -> None:
    gauge = Gauge(15)
    for _ in range(15):
        await lab.enqueue(queue="low")
    limits = {"low": 2, "other": 1}
    async with lab.serving(gauge, concurrency=8, queues=["other", "low"], queue_limits=limits):
        await aeventually(lambda: gauge.running["low"] == 2)
        gauge.release.set()
        await aeventually(gauge.finished)
    assert gauge.peak == {"low": 2}


async def test_several_servers_keep_the_shared_limit_of_a_queue(lab: ServerLab) -> None:
    gauge = Gauge(20)
    for _ in range(20):
        await lab.enqueue()
    async with AsyncExitStack() as servers:
        for _ in range(3):
            serving = lab.serving(gauge, concurrency=4, shared_queue_limits={"default": 5})
            await servers.enter_async_context(serving)
        await aeventually(lambda: gauge.running["default"] == 5)
        gauge.release.set()
        await aeventually(gauge.finished)
    assert gauge.peak["default"] == 5


async def test_tasks_of_a_lost_worker_count_until_they_are_recovered(lab: ServerLab) -> None:
    lost = await lab.enqueue()
    [delivery] = await lab.broker.aexecute(Dequeue(orders=(("default",),), token="dead", lease=500))
    gauge = Gauge(2)
    gauge.release.set()
    waiting = await lab.enqueue()
    async with lab.serving(gauge, shared_queue_limits={"default": 1}):
        stored = await lab.find(waiting)
        assert stored
        assert stored.state is TaskState.PENDING
        await aeventually(gauge.finished)
        await lab.reaches(lost, None)
    assert gauge.peak["default"] == 1
    assert delivery.message.id == lost


# --- semaphores and rates -------------------------------------------------------------------------------


async def test_tasks_beyond_a_semaphore_wait_without_using_a_retry(lab: ServerLab) -> None:
    gauge = Gauge(6)
    errors: list[Exception] = []
    mux = ServeMux()
    limit = Semaphore("s", 2, retry_in=timedelta(milliseconds=1))
    mux.handle("t", gauge, middlewares=[limit])
    async with AsyncExitStack() as servers:
        for _ in range(2):
            serving = lab.serving(mux, on_error=lambda error, *_: errors.append(error))
            await servers.enter_async_context(serving)
        ids = [await lab.enqueue(max_retry=0) for _ in range(6)]
        await aeventually(lambda: gauge.running["default"] == 2)
        waiting = [task for task in [await lab.reaches(i, ACTIVE, RETRY) for i in ids] if task.state == RETRY]
        gauge.release.set()
        for task_id in ids:
            await lab.reaches(task_id, None)
    assert gauge.peak["default"] == 2
    assert errors == []
    assert all("'s'" in task.message.error and task.message.retried == 0 for task in waiting)
    stats = await lab.broker.aexecute(GetQueueStats(queue="default"))
    assert (stats.processed, stats.failed) == (6, 0)


async def test_a_plain_handler_releases_its_slot_even_when_it_fails(lab: ServerLab) -> None:
    free: list[bool] = []
    limit = Semaphore("s", 1)

    def handler(ctx: Context, task: Task) -> None:
        with limit.hold(ctx):
            free.append(ctx.control.broker.execute(probe))
            raise ValueError("boom")

    probe = AcquireSlot(scope="s", holder="other", limit=1, hold=1)
    async with lab.serving(handler):
        await lab.reaches(await lab.enqueue(max_retry=0), TaskState.ARCHIVED)
    assert free == [False]
    assert await lab.broker.aexecute(probe)


@pytest.mark.parametrize("way", ["async", "plain"])
async def test_a_slot_is_extended_during_its_run(memory: ServerLab, way: str) -> None:
    limit = Semaphore("s", 1, lapse=timedelta(seconds=1))
    probe = AcquireSlot(scope="s", holder="other", limit=1, hold=1)
    answers: list[bool] = []

    def lapsed(began: float) -> bool:
        """The hold of the slot would have ended by now. Until then, and then, the slot is taken."""
        answers.append(memory.broker.execute(probe))
        return time.monotonic() - began > 1.3

    async def handler(ctx: Context, task: Task) -> None:
        async with limit.hold(ctx):
            began = time.monotonic()
            await aeventually(lambda: lapsed(began))

    def plain(ctx: Context, task: Task) -> None:
        with limit.hold(ctx):
            began = time.monotonic()
            eventually(lambda: lapsed(began))

    async with memory.serving(handler if way == "async" else plain):
        await memory.reaches(await memory.enqueue(), None)
    assert set(answers) == {False}


async def test_a_handler_process_uses_semaphores_and_rates_through_its_worker(lab: ServerLab) -> None:
    mux = ServeMux()
    mux.handle("t", process_handlers.limited, executor="process")
    async with lab.serving(mux):
        stored = await lab.reaches(await lab.enqueue(retention=60), TaskState.COMPLETED)
        waiting = await lab.reaches(await lab.enqueue(), TaskState.RETRY)
    assert stored.result == b"in"
    assert waiting.message.error.startswith("held back by 'once' for")


async def test_a_rate_is_kept_across_servers_and_delayed_tasks_follow(lab: ServerLab) -> None:
    began: list[float] = []
    mux = ServeMux()

    @mux.handler("t", middlewares=[RateLimit("r", 2, timedelta(seconds=1))])
    async def handler(ctx: Context, task: Task) -> None:
        began.append(time.monotonic())

    async with lab.serving(mux), lab.serving(mux):
        for task_id in [await lab.enqueue(max_retry=0) for _ in range(5)]:
            await lab.reaches(task_id, None)
    assert len(began) == 5
    assert all(later - earlier > 0.9 for earlier, later in zip(began, began[2:], strict=False))


async def test_a_handler_can_raise_rate_limited_itself(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise RateLimited(timedelta(hours=1))

    async with lab.serving(handler):
        stored = await lab.reaches(await lab.enqueue(max_retry=0), TaskState.RETRY)
    assert stored.message.retried == 0
    assert stored.due_at - time.time() * 1000 > 3_500_000
