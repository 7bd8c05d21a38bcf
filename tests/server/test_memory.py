"""What a failed run held is freed at its end, not when the garbage collector comes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncInspector, ServeMux, Task
from asynq.runtime.threads import CallResult
from asynq.task_state import TaskState
from tests.server import failing_process_handlers
from tests.server.failing_handlers import (
    ALIVE,
    FAILING,
    Big,
    Order,
    fails,
    fails_in_a_thread,
    without_collector,
)
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.handlers.context import Context
    from tests.server.conftest import ServerLab

RUNS = 12


class Seen:
    """How much was alive at most when a run began."""

    def __init__(self) -> None:
        self.most = 0

    def __call__(self, task: Task, ctx: Context) -> None:
        self.most = max(self.most, len(ALIVE))


async def later(*_: Any) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize("handler", FAILING, ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("hook", [None, later], ids=["unhooked", "hooked"])
async def test_the_locals_of_failed_runs_are_freed_at_their_end(
    memory: ServerLab, handler: Callable[..., Any], hook: Any
) -> None:
    seen = Seen()
    hooks = dict.fromkeys(("on_error", "on_failure", "on_retry", "on_archive"), hook)
    with without_collector():
        async with memory.serving(handler, concurrency=1, on_start=seen, **hooks):
            for _ in range(RUNS):
                await memory.reaches(await memory.enqueue(), TaskState.RETRY, TaskState.ARCHIVED)
            await aeventually(lambda: not ALIVE)
    assert seen.most <= 1


async def test_the_locals_of_typed_and_wrapped_handlers_are_freed(memory: ServerLab) -> None:
    mux = ServeMux()

    @mux.middleware
    async def around(ctx: Context, task: Task, next: Any) -> Any:  # noqa: A002
        big = Big()
        assert big
        return await next(ctx, task)

    async def typed(ctx: Context, order: Order) -> None:
        await fails(ctx, Task("t"))

    mux.handle("typed", typed, payload=Order)
    mux.handle("thread", fails_in_a_thread)
    with without_collector():
        async with memory.serving(mux):
            for kind, payload in [("typed", b'{"number":1}'), ("typed", b"{}"), ("thread", b""), ("no", b"")]:
                task_id = await memory.enqueue(kind, payload)
                await memory.reaches(task_id, TaskState.RETRY, TaskState.ARCHIVED)
            await aeventually(lambda: not ALIVE)


async def waits(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    await asyncio.Event().wait()


async def stays(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    with suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    raise ValueError("cleaning up failed")


def asks(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    eventually(lambda: ctx.cancelled)
    ctx.raise_if_cancelled()


@pytest.mark.parametrize("handler", [waits, stays, asks], ids=lambda handler: handler.__name__)
async def test_the_locals_of_cancelled_runs_are_freed(memory: ServerLab, handler: Callable[..., Any]) -> None:
    with without_collector():
        async with memory.serving(handler, shutdown_timeout=timedelta(milliseconds=50)):
            overrun = await memory.enqueue(timeout=1)
            cancelled = await memory.enqueue()
            await aeventually(lambda: len(ALIVE) == 2)
            inspector = AsyncInspector(memory.broker)
            assert await inspector.cancel(cancelled)
            await memory.reaches(cancelled, TaskState.ARCHIVED)
            await memory.reaches(overrun, TaskState.RETRY)
            await aeventually(lambda: not ALIVE)
            await memory.enqueue()
            await aeventually(lambda: len(ALIVE) == 1)
        await aeventually(lambda: not ALIVE)


async def test_failures_in_processes_leave_no_reference_cycles(memory: ServerLab) -> None:
    mux = ServeMux()
    mux.handle("fails", failing_process_handlers.fails, executor="process")
    mux.handle("dies", failing_process_handlers.dies, executor="process")
    with without_collector():
        async with memory.serving(mux, concurrency=1):
            for kind in ("fails", "dies", "fails"):
                await memory.reaches(await memory.enqueue(kind), TaskState.RETRY)


@pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])
async def test_the_locals_of_a_failed_aggregator_are_freed(memory: ServerLab, is_async: bool) -> None:
    times = 0

    def aggregate(group: str, tasks: list[Task]) -> Task:
        nonlocal times
        times += 1
        big = Big()
        raise ValueError(len(big.content))

    async def aggregate_async(group: str, tasks: list[Task]) -> Task:
        return aggregate(group, tasks)

    told: list[str] = []
    with without_collector():
        async with memory.serving(
            fails,
            aggregator=aggregate_async if is_async else aggregate,
            group_grace_period=timedelta(seconds=1),
            group_max_size=1,
            on_error=lambda error, task, ctx: told.append(str(error)),
        ):
            await memory.enqueue(group="g")
            await aeventually(lambda: told)
            await aeventually(lambda: not ALIVE)
    assert times


def test_an_error_that_is_never_read_from_its_thread_is_freed() -> None:
    def fail() -> None:
        big = Big()
        raise ValueError(len(big.content))

    with without_collector():
        CallResult[None]().fill(fail)
        assert not ALIVE
