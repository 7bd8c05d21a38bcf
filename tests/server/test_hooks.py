"""What a server's hooks are told, and when; none of them can break anything."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq import (
    AsyncClient,
    BrokerUnavailable,
    Context,
    LeaseLostError,
    MemoryBroker,
    RevokeTask,
    SkipRetry,
    Task,
)
from asynq.handlers.hooks import Callbacks, Hooks
from asynq.protocol.broker import CancelRequested
from asynq.protocol.message import LostLease, TaskMessage
from asynq.protocol.ops import Ping, Recover
from asynq.server import Server
from asynq.task_state import TaskState
from tests.waiting import aeventually

if TYPE_CHECKING:
    from tests.server.conftest import ServerLab

TASK_HOOKS = ("on_start", "on_success", "on_failure", "on_retry", "on_archive")


class Diary:
    """Hooks that note their name and what they are told, sync or async."""

    def __init__(self, *, later: bool = False) -> None:
        self.entries: list[tuple[Any, ...]] = []
        self.hooks = {name: partial(self.note_later if later else self.note, name) for name in TASK_HOOKS}

    def note(self, name: str, *arguments: Any) -> None:
        *error, task, ctx = arguments
        assert isinstance(task, Task)
        assert ctx is None or isinstance(ctx, Context)
        self.entries.append((name, *map(str, error)))

    async def note_later(self, name: str, *arguments: Any) -> None:
        await asyncio.sleep(0)
        self.note(name, *arguments)


@pytest.mark.parametrize("later", [True, False])
async def test_hooks_receive_the_start_and_the_success_of_a_run(lab: ServerLab, later: bool) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        pass

    diary = Diary(later=later)
    async with lab.serving(handler, **diary.hooks):
        await lab.reaches(await lab.enqueue(), None)
        await aeventually(lambda: len(diary.entries) == 2)
    assert diary.entries == [("on_start",), ("on_success",)]


async def test_hooks_receive_failures_with_the_next_state(memory: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom")

    diary = Diary()
    async with memory.serving(handler, **diary.hooks, retry_delay=lambda *_: 0):
        await memory.reaches(await memory.enqueue(max_retry=1), TaskState.ARCHIVED)
        await aeventually(lambda: len(diary.entries) == 6)
    failed = [("on_start",), ("on_failure", "boom")]
    assert diary.entries == [*failed, ("on_retry", "boom"), *failed, ("on_archive", "boom")]


async def test_a_hook_enqueues_with_the_client_of_its_context(lab: ServerLab) -> None:
    """Also while the server shuts down, which waits for its hooks."""

    async def handler(ctx: Context, task: Task) -> None:
        raise SkipRetry("declined")

    called, go_on = asyncio.Event(), asyncio.Event()

    async def refund(error: Exception, task: Task, ctx: Context | None) -> None:
        called.set()
        await go_on.wait()
        assert ctx is not None
        await ctx.client.enqueue(Task("refund", {"of": ctx.task_id}), queue="later", task_id="refund")

    async with lab.serving(handler, on_archive=refund) as server:
        declined = await lab.enqueue()
        await called.wait()
        ending = asyncio.create_task(server.shutdown())
        await aeventually(lambda: server.state == "stopped")
        go_on.set()
        await ending
    async with AsyncClient(lab.broker) as client:
        assert (await client.get("refund", "later")).payload == b'{"of":"%s"}' % declined.encode()


async def test_hooks_receive_only_a_retry_for_an_error_that_is_not_a_failure(memory: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("later")

    diary = Diary()
    async with memory.serving(handler, **diary.hooks, is_failure=lambda _: False, retry_delay=lambda *_: 60):
        await memory.reaches(await memory.enqueue(), TaskState.RETRY)
        await aeventually(lambda: len(diary.entries) == 2)
    assert diary.entries == [("on_start",), ("on_retry", "later")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SkipRetry("no"), [("on_start",), ("on_failure", "no"), ("on_archive", "no")]),
        (RevokeTask("no"), [("on_start",)]),
    ],
)
async def test_hooks_receive_the_effect_of_verdicts(
    memory: ServerLab, error: Exception, expected: list[Any]
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise error

    diary = Diary()
    async with memory.serving(handler, **diary.hooks):
        await memory.reaches(await memory.enqueue(), TaskState.ARCHIVED, None)
    assert diary.entries == expected


async def test_hooks_receive_the_next_state_of_a_cancelled_task(memory: ServerLab) -> None:
    began = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        began.set()
        await asyncio.Event().wait()

    diary = Diary()
    async with memory.serving(handler, **diary.hooks) as server:
        task_id = await memory.enqueue()
        await began.wait()
        worker = server._worker
        assert worker is not None
        worker._processor.cancel(CancelRequested(task_id, "default", "archive"))
        await memory.reaches(task_id, TaskState.ARCHIVED)
    assert [entry[0] for entry in diary.entries] == ["on_start", "on_failure", "on_archive"]


async def test_a_run_requeued_by_shutdown_neither_succeeds_nor_fails(memory: ServerLab) -> None:
    began = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        began.set()
        await asyncio.Event().wait()

    diary = Diary()
    async with memory.serving(handler, **diary.hooks, shutdown_timeout=timedelta(0)):
        await memory.enqueue()
        await began.wait()
    assert diary.entries == [("on_start",)]


@pytest.mark.parametrize(("to", "then"), [("pending", "on_retry"), ("archived", "on_archive")])
async def test_hooks_receive_a_lost_worker_without_a_context(to: Any, then: str) -> None:
    told: list[tuple[Any, ...]] = []
    names = ("on_error", "on_failure", then)
    callbacks: dict[str, Any] = {name: lambda *what, name=name: told.append((name, *what)) for name in names}
    message = TaskMessage(id="1", type="t", queue="q")
    Hooks(Callbacks(**callbacks)).lost(
        Recover(lost=LostLease(message=message, observed=""), to=to, error="lost")
    )
    assert [entry[0] for entry in told] == list(names)
    for _, error, task, ctx in told:
        assert (type(error), task.type, ctx) == (LeaseLostError, "t", None)


@pytest.mark.parametrize("later", [True, False])
async def test_failing_hooks_have_no_effect(
    memory: ServerLab, later: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(*_: object) -> None:
        raise SystemExit(1)

    async def hook_later(*_: object) -> None:
        raise ValueError

    async def handler(ctx: Context, task: Task) -> None:
        if ctx.retried < 1:
            raise ValueError
        if task.type == "bad":
            raise SkipRetry

    hooks: dict[str, Any] = dict.fromkeys(TASK_HOOKS, hook_later if later else hook)
    async with memory.serving(handler, **hooks, retry_delay=lambda *_: 0):
        await memory.reaches(await memory.enqueue("good", retention=60), TaskState.COMPLETED)
        await memory.reaches(await memory.enqueue("bad"), TaskState.ARCHIVED)
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    failures = [record.getMessage() for record in records if record.name == "asynq.server"]
    assert {failure.partition(" ")[0] for failure in failures} == set(TASK_HOOKS)


class Mortal(MemoryBroker):
    """Can be told to be away."""

    away = False

    async def aexecute(self, op: Any, /) -> Any:
        if self.away and isinstance(op, Ping):
            raise BrokerUnavailable("away")
        return await super().aexecute(op)


@pytest.mark.parametrize("later", [True, False])
async def test_a_health_check_receives_the_state_of_the_broker(later: bool) -> None:
    told: list[object] = []

    async def note_later(error: object) -> None:
        told.append(error)

    async def handler(ctx: Context, task: Task) -> None:
        pass

    broker = Mortal()
    second = timedelta(seconds=1)
    check = note_later if later else told.append
    server = Server(broker, health_check=check, health_check_interval=second)
    await server.start(handler)
    await aeventually(lambda: told == [None])
    broker.away = True
    await aeventually(lambda: len(told) > 1)
    broker.away = False
    assert isinstance(told[1], BrokerUnavailable)
    await server.shutdown()
    broker.close()
