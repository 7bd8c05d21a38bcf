"""Debounced and throttled tasks, from the client's calls to the runs, on every broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncClient, AsyncInspector, Context, DuplicateTaskError, Task, TaskState

if TYPE_CHECKING:
    from tests.server.conftest import ServerLab

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


async def test_of_several_debounced_tasks_the_last_one_runs_once(lab: ServerLab) -> None:
    client, payloads, ran = AsyncClient(lab.broker), [], asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        payloads.append(task.payload)
        ran.set()

    async with lab.serving(handler):
        for number in range(5):
            await client.enqueue(Task("index", b"%d" % number), debounce=SECOND)
        await client.enqueue(Task("index", b"other"), debounce=HOUR, key="other")
        await ran.wait()
        info = await AsyncInspector(lab.broker).queue_info("default")
        assert info.size == info.scheduled + info.active
        assert info.scheduled == 1
    assert payloads == [b"4"]


async def test_a_call_during_a_run_is_followed_by_another_run(memory: ServerLab) -> None:
    client, payloads, begun, let_go = AsyncClient(memory.broker), [], asyncio.Event(), asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        payloads.append(task.payload)
        begun.set()
        await let_go.wait()

    async with memory.serving(handler):
        first = await client.enqueue(Task("index", b"1"), debounce=SECOND)
        await begun.wait()
        for payload in (b"2", b"3"):
            last = await client.enqueue(Task("index", payload), debounce=SECOND)
        assert last.state is TaskState.SCHEDULED
        let_go.set()
        await memory.reaches(first.id, None)
        await memory.reaches(last.id, None)
    assert payloads == [b"1", b"3"]


async def test_a_throttled_task_is_refused_until_the_time_is_over(lab: ServerLab) -> None:
    client = AsyncClient(lab.broker)

    async def handler(ctx: Context, task: Task) -> None: ...

    async with lab.serving(handler):
        first = await client.enqueue(Task("sync", b"1"), throttle=HOUR)
        await lab.reaches(first.id, None)
        with pytest.raises(DuplicateTaskError):
            await client.enqueue(Task("sync", b"2"), throttle=HOUR)
        other: dict[str, Any] = {"throttle": HOUR, "key": "customer-7"}
        await client.enqueue(Task("sync", b"2"), **other)
        with pytest.raises(DuplicateTaskError):
            await client.enqueue(Task("sync", b"3"), **other)
