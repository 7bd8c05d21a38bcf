"""What becomes of tasks that a server takes, on every broker."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import RevokeTask, SkipRetry
from asynq.handlers.mux import ServeMux
from asynq.handlers.runner import CANCEL_GRACE
from asynq.protocol.ops import PauseQueue, UnpauseQueue
from asynq.task_state import TaskState
from asynq.worker import wakeups, worker
from asynq_redis import RedisBroker
from tests.server.conftest import ServerLab
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from tests.servers import RedisServer

GONE = None
LATE = 15.0
"""Seconds after which a task due in one second counts as forgotten, also on a busy machine."""


async def test_a_task_runs_once_and_is_deleted(lab: ServerLab) -> None:
    seen: list[tuple[str, bytes, str]] = []

    async def handler(ctx: Context, task: Task) -> None:
        seen.append((task.type, task.payload, ctx.task_id))

    async with lab.serving(handler):
        task_id = await lab.enqueue("email", b"payload")
        await lab.reaches(task_id, GONE)
    assert seen == [("email", b"payload", task_id)]


async def test_a_plain_function_runs_in_a_thread_and_its_return_value_is_the_result(lab: ServerLab) -> None:
    def handler(ctx: Context, task: Task) -> bytes:
        return threading.current_thread().name.encode()

    async with lab.serving(handler):
        stored = await lab.reaches(await lab.enqueue(retention=60), TaskState.COMPLETED)
    assert stored.result not in (None, threading.main_thread().name.encode())


async def test_a_failure_is_retried_with_its_error_and_then_archived(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError(f"boom {ctx.retried}")

    async with lab.serving(handler, retry_delay=lambda *_: 0):
        stored = await lab.reaches(await lab.enqueue(max_retry=1), TaskState.ARCHIVED)
    assert (stored.message.error, stored.message.retried) == ("ValueError: boom 1", 1)


async def test_skip_retry_archives_and_revoke_deletes(lab: ServerLab) -> None:
    mux = ServeMux()

    @mux.handler("skip")
    async def skip(ctx: Context, task: Task) -> None:
        raise SkipRetry("never again")

    @mux.handler("revoke")
    def revoke(ctx: Context, task: Task) -> None:
        raise RevokeTask

    async with lab.serving(mux):
        skipped, revoked = await lab.enqueue("skip"), await lab.enqueue("revoke")
        stored = await lab.reaches(skipped, TaskState.ARCHIVED)
        await lab.reaches(revoked, GONE)
    assert stored.message.error == "never again"


async def test_a_task_without_a_handler_fails_with_the_reason(lab: ServerLab) -> None:
    async with lab.serving(ServeMux()):
        stored = await lab.reaches(await lab.enqueue("unknown"), TaskState.RETRY)
    assert "unknown" in stored.message.error


async def test_a_handler_that_exceeds_its_timeout_is_cancelled_and_retried(lab: ServerLab) -> None:
    ended = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with lab.serving(handler):
        stored = await lab.reaches(await lab.enqueue(timeout=1), TaskState.RETRY)
    assert ended.is_set()
    assert "timeout" in stored.message.error


async def test_a_task_past_its_deadline_is_archived_without_a_run(lab: ServerLab) -> None:
    ran = False

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal ran
        ran = True

    async with lab.serving(handler):
        await lab.reaches(await lab.enqueue(deadline=1_000_000_000), TaskState.ARCHIVED)
    assert not ran


async def test_a_new_task_wakes_up_an_idle_server(lab: ServerLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for poll in ("FALLBACK_POLL_INTERVAL", "NO_PUSH_POLL_INTERVAL"):
        monkeypatch.setattr(wakeups, poll, 3600)
    monkeypatch.setattr(worker, "LIVE_POLL_INTERVAL", 3600)

    async def handler(ctx: Context, task: Task) -> None: ...

    async with lab.serving(handler):
        for _ in range(5):
            await lab.reaches(await lab.enqueue(), GONE)


async def test_a_scheduled_task_runs_when_it_is_due_and_not_before(lab: ServerLab) -> None:
    ran_at: list[float] = []

    async def handler(ctx: Context, task: Task) -> None:
        ran_at.append(time.time())

    async with lab.serving(handler):
        enqueued_at = time.time()
        await lab.reaches(await lab.enqueue(process_in=1000), GONE)
    assert 1.0 <= ran_at[0] - enqueued_at < LATE


async def test_the_concurrency_limits_the_running_handlers(lab: ServerLab) -> None:
    running = most = done = 0
    full = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        await full.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        done += 1

    for _ in range(60):
        await lab.enqueue()
    async with lab.serving(handler, concurrency=3):
        await aeventually(lambda: done == 60)
    assert most == 3


async def test_many_tasks_run_once_each(lab: ServerLab) -> None:
    ran: list[bytes] = []

    async def handler(ctx: Context, task: Task) -> None:
        ran.append(task.payload)

    wanted = [str(number).encode() for number in range(300)]
    async with lab.serving(handler, concurrency=64), lab.serving(handler, concurrency=8):
        for payload in wanted:
            await lab.enqueue(payload=payload)
        await aeventually(lambda: len(ran) >= 300)
    assert sorted(ran) == sorted(wanted)


async def test_strict_priority_empties_the_heavier_queue_first(lab: ServerLab) -> None:
    ran: list[str] = []

    async def handler(ctx: Context, task: Task) -> None:
        ran.append(ctx.queue)

    for queue in ("low", "high", "low", "high"):
        await lab.enqueue(queue=queue)
    async with lab.serving(handler, concurrency=1, queues={"low": 1, "high": 2}, strict_priority=True):
        await aeventually(lambda: len(ran) == 4)
    assert ran == ["high", "high", "low", "low"]


async def test_a_paused_queue_waits_until_it_is_unpaused(lab: ServerLab) -> None:
    ran: list[str] = []

    async def handler(ctx: Context, task: Task) -> None:
        ran.append(ctx.queue)

    await lab.enqueue(queue="paused")
    await lab.broker.aexecute(PauseQueue(queue="paused"))
    async with lab.serving(handler, queues=["paused", "other"]):
        await lab.enqueue(queue="other")
        await aeventually(lambda: ran == ["other"])
        await lab.broker.aexecute(UnpauseQueue(queue="paused"))
        await aeventually(lambda: ran == ["other", "paused"])


async def test_tasks_with_one_id_in_two_queues_are_independent(lab: ServerLab) -> None:
    both = asyncio.Barrier(2)

    async def handler(ctx: Context, task: Task) -> str:
        await both.wait()
        return ctx.queue

    async with lab.serving(handler, queues=["a", "b"]):
        for queue in ("a", "b"):
            await lab.enqueue(queue=queue, id="same", retention=60)
        for queue in ("a", "b"):
            stored = await lab.reaches("same", TaskState.COMPLETED, queue=queue)
            assert stored.result == queue.encode()


async def test_a_cancellation_message_of_go_ends_the_run_and_retries(redis_server: RedisServer) -> None:
    begun = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    broker = RedisBroker(redis_server.url)
    lab = ServerLab(broker)
    async with lab.serving(handler):
        task_id = await lab.enqueue()
        await begun.wait()
        redis_server.client.publish("asynq:cancel", task_id)
        stored = await lab.reaches(task_id, TaskState.RETRY)
    assert "cancelled" in stored.message.error
    await broker.aclose()
    broker.close()


# --- what does not depend on the broker ------------------------------------------------------------------


async def test_a_handler_that_does_not_end_keeps_its_slot_after_its_task_was_retried(
    memory: ServerLab,
) -> None:
    release, started = threading.Event(), 0

    def handler(ctx: Context, task: Task) -> None:
        nonlocal started
        started += 1
        release.wait(PATIENCE)

    async with memory.serving(handler, concurrency=1, retry_delay=lambda *_: 3600):
        begun = time.monotonic()
        first, second = await memory.enqueue(timeout=1), await memory.enqueue()
        await memory.reaches(first, TaskState.RETRY)
        assert time.monotonic() - begun > 1 + CANCEL_GRACE
        assert started == 1
        release.set()
        await memory.reaches(second, GONE)


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_error_hook_receives_each_failure(memory: ServerLab, is_async: bool) -> None:
    told: list[tuple[str, str, int]] = []

    def note(error: Exception, task: Task, ctx: Any) -> None:
        told.append((str(error), task.type, ctx.retried))

    async def note_later(error: Exception, task: Task, ctx: Any) -> None:
        await asyncio.sleep(0)
        note(error, task, ctx)

    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom")

    hook = note_later if is_async else note
    async with memory.serving(handler, on_error=hook, retry_delay=lambda *_: 0):
        await memory.reaches(await memory.enqueue("t", max_retry=1), TaskState.ARCHIVED)
    assert told == [("boom", "t", 0), ("boom", "t", 1)]


async def test_a_failing_error_hook_has_no_effect(
    memory: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(*_: object) -> None:
        raise SystemExit(1)

    async def handler(ctx: Context, task: Task) -> None:
        raise SkipRetry

    async with memory.serving(handler, on_error=hook):
        await memory.reaches(await memory.enqueue(), TaskState.ARCHIVED)
        await memory.reaches(await memory.enqueue(), TaskState.ARCHIVED)
    failures = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len([record for record in failures if record.name == "asynq.server"]) == 2


async def test_an_error_that_cannot_be_inspected_does_not_end_the_server(memory: ServerLab) -> None:
    class Broken(Exception):  # noqa: N818
        @property
        def __cause__(self) -> BaseException | None:  # type: ignore[override]
            raise RuntimeError("no")

        def __bool__(self) -> bool:
            raise RuntimeError("no")

    async def handler(ctx: Context, task: Task) -> None:
        raise Broken("boom")

    async with memory.serving(handler):
        for _ in range(2):
            stored = await memory.reaches(await memory.enqueue(max_retry=0), TaskState.ARCHIVED)
    assert "Broken: boom" in stored.message.error


async def test_an_error_that_is_not_a_failure_uses_no_retry(memory: ServerLab) -> None:
    runs = 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise TimeoutError

    busy = {
        "is_failure": lambda error: not isinstance(error, TimeoutError),
        "retry_delay": lambda *_: timedelta(0),
    }
    async with memory.serving(handler, **busy):
        stored = await memory.reaches(await memory.enqueue(max_retry=1, retention=60), TaskState.COMPLETED)
    assert (runs, stored.message.retried) == (3, 0)
