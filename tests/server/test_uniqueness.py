"""One of a kind, from the client's call to the end of the run, on every broker."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import pytest

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.errors import DuplicateTaskError, SkipRetry, TaskIDConflictError
from asynq.task_state import TaskState
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq.handlers.context import Context
    from tests.server.conftest import ServerLab

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
LATE = 15.0
"""Seconds after which a lock of one second counts as one that does not expire, also on a busy machine."""


class Runs:
    """A handler that runs until it is released; "fail" archives its task."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, ctx: Context, task: Task) -> bytes:
        self.begun.set()
        await self.release.wait()
        if task.payload == b"fail":
            raise SkipRetry("no")
        return b"run"


async def refused(client: AsyncClient, task: Task, **options: Any) -> bool:
    try:
        await client.enqueue(task, **options)
    except (DuplicateTaskError, TaskIDConflictError):
        return True
    return False


async def until_accepted(client: AsyncClient, task: Task, **options: Any) -> None:
    """Enqueue again and again until it is accepted."""

    async def accepted() -> bool:
        return not await refused(client, task, **options)

    await aeventually(accepted)


Until = Literal["done", "start", "expiry"]


@pytest.mark.parametrize("until", ["done", "start", "expiry"])
async def test_outcomes_that_release_the_lock_early(lab: ServerLab, until: Until) -> None:
    client, runs, task = AsyncClient(lab.broker), Runs(), Task("t", b"same")
    options: dict[str, Any] = {"unique": HOUR, "unique_until": until}
    first = await client.enqueue(task, **options)
    assert await refused(client, task, **options)
    assert not await refused(client, Task("t", b"other"), unique=HOUR, queue="elsewhere")
    async with lab.serving(runs, concurrency=1):
        await runs.begun.wait()
        assert await refused(client, task, **options) == (until != "start")
        assert await refused(client, task, **options)
        runs.release.set()
        await lab.reaches(first.id, None)
        if until == "start":
            await until_accepted(client, task, **options)
        else:
            assert await refused(client, task, **options) == (until == "expiry")


async def test_the_lock_of_an_archived_task_is_kept(lab: ServerLab) -> None:
    client, runs, task = AsyncClient(lab.broker), Runs(), Task("t", b"fail")
    runs.release.set()
    async with lab.serving(runs):
        first = await client.enqueue(task, unique=HOUR)
        await lab.reaches(first.id, TaskState.ARCHIVED)
        assert await refused(client, task, unique=HOUR)


async def test_an_expired_lock_admits_a_second_task(lab: ServerLab) -> None:
    client, task = AsyncClient(lab.broker), Task("t")
    began = time.monotonic()
    first = await client.enqueue(task, unique=SECOND)
    await until_accepted(client, task, unique=SECOND)
    assert 0.9 < time.monotonic() - began < LATE
    assert await lab.reaches(first.id, TaskState.PENDING)


async def test_a_kept_lock_lasts_as_long_as_its_run(lab: ServerLab) -> None:
    client, runs, task = AsyncClient(lab.broker), Runs(), Task("t")
    async with lab.serving(runs, lease=SECOND):
        first = await client.enqueue(task, unique=SECOND, keep_unique=True)
        await runs.begun.wait()
        began = await lab.find(first.id)
        assert began
        lease_ends = began.due_at

        async def outlives_two_leases() -> bool:
            assert await refused(client, task, unique=SECOND)
            stored = await lab.find(first.id)
            assert stored
            return stored.due_at > lease_ends + 2000

        await aeventually(outlives_two_leases)
        runs.release.set()
        await lab.reaches(first.id, None)
        assert not await refused(client, task, unique=SECOND)


@pytest.mark.parametrize("payload", [b"ok", b"fail"])
async def test_a_finished_task_is_replaced_only_on_request(lab: ServerLab, payload: bytes) -> None:
    client, runs = AsyncClient(lab.broker), Runs()
    task = Task("t", payload, task_id="order-7", retention=HOUR)
    finished = TaskState.COMPLETED if payload == b"ok" else TaskState.ARCHIVED
    await client.enqueue(task)
    assert await refused(client, task, on_conflict="replace_finished")
    async with lab.serving(runs):
        await runs.begun.wait()
        assert await refused(client, task, on_conflict="replace_finished")
        runs.release.set()
        await lab.reaches("order-7", finished)
        assert await refused(client, task)
        again = await client.enqueue(Task("t", b"new"), task_id="order-7", on_conflict="replace_finished")
        assert (again.id, again.state) == ("order-7", TaskState.PENDING)
        await lab.reaches("order-7", None)


async def test_a_replacement_takes_over_the_lock_of_its_own_id(lab: ServerLab) -> None:
    client, runs, task = AsyncClient(lab.broker), Runs(), Task("t", b"fail", task_id="a", unique=HOUR)
    runs.release.set()
    async with lab.serving(runs):
        await client.enqueue(task)
        await lab.reaches("a", TaskState.ARCHIVED)
        assert not await refused(client, task, on_conflict="replace_finished")
        await lab.reaches("a", TaskState.ARCHIVED)
