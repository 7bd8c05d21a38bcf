from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import RevokeTask, SkipRetry
from asynq.handlers.context import CancelReason, Context
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Succeeded
from asynq.runtime.thread_calls import CallThreads
from tests.unit.handler_runs import Runs, occupy, started
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import StopOutcome
    from asynq.handlers.outcome import Outcome
    from tests.unit.handler_runs import RunOfTest

SHUTDOWN = Interrupted("shutdown")
LEASE_LOST = Interrupted("lease_lost")
ARCHIVE = Cancelled("archive")

REASONS = {
    SHUTDOWN: CancelReason.SHUTDOWN,
    LEASE_LOST: CancelReason.LEASE_LOST,
    ARCHIVE: CancelReason.OPERATOR,
    Cancelled("retry"): CancelReason.OPERATOR,
}


class Patient:
    """An async handler that waits for a cancellation and records what it observes."""

    def __init__(self, *, then: Any = None, swallows: int = 0, cleaning: int = 1) -> None:
        self.then = then
        self.swallows = swallows
        self.cleaning = cleaning
        self.cancellations = 0
        self.cleaned = False
        self.reason: CancelReason | None = None
        self.release = asyncio.Event()

    async def __call__(self, ctx: Context, task: Task) -> Any:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancellations += 1
                self.reason = ctx.cancel_reason
                if self.cancellations > self.swallows:
                    break
        for _ in range(self.cleaning):
            await asyncio.sleep(0)
        self.cleaned = True
        if isinstance(self.then, BaseException):
            raise self.then
        return self.then


@pytest.mark.parametrize(("stop", "reason"), REASONS.items())
async def test_a_cancelled_async_handler_ends_and_can_read_the_reason(
    runs: Runs, stop: Cancelled | Interrupted, reason: CancelReason
) -> None:
    handler = Patient(then=asyncio.CancelledError())
    run = runs.make(handler)
    execution = await started(run)
    run.cancel(stop)
    assert await execution == stop
    assert handler.reason == reason
    assert run.finished.is_set()


@pytest.mark.parametrize(("stop", "reason"), REASONS.items())
async def test_raise_if_cancelled_ends_a_plain_function(
    runs: Runs, stop: Cancelled | Interrupted, reason: CancelReason
) -> None:
    begun = threading.Event()
    seen: list[CancelReason | None] = []

    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        try:
            while True:
                ctx.raise_if_cancelled()
                threading.Event().wait(0.001)
        finally:
            seen.append(ctx.cancel_reason)

    run = runs.make(handler)
    execution = await started(run)
    await asyncio.to_thread(begun.wait)
    run.cancel(stop)
    assert await execution == stop
    assert seen == [reason]


async def test_a_cancellation_before_the_first_step_takes_effect(runs: Runs) -> None:
    run = runs.make(Patient())
    asyncio.get_running_loop().call_soon(run.cancel, ARCHIVE)
    assert await run.execute() == ARCHIVE


async def test_a_task_that_others_cancel_before_its_first_step_has_failed(runs: Runs) -> None:
    before = asyncio.all_tasks()
    run = runs.make(Patient())
    execution = asyncio.create_task(run.execute())
    await asyncio.sleep(0)
    [task] = asyncio.all_tasks() - before - {execution}
    task.cancel()
    outcome = await execution
    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "the handler was cancelled, but not by its server"
    assert run.finished.is_set()


@pytest.mark.parametrize("verdict", [SkipRetry("done with it"), RevokeTask()], ids=repr)
async def test_a_verdict_of_a_cancelled_handler_takes_precedence(runs: Runs, verdict: Exception) -> None:
    run = runs.make(Patient(then=verdict))
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == Failed(verdict)


async def test_a_cancelled_handler_that_returns_has_succeeded(runs: Runs) -> None:
    run = runs.make(Patient(then=b"saved"))
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == Succeeded(b"saved")


async def test_other_errors_after_a_cancellation_count_as_cancelled(runs: Runs) -> None:
    run = runs.make(Patient(then=ConnectionError("broken off")))
    execution = await started(run)
    run.cancel(ARCHIVE)
    assert await execution == ARCHIVE


@pytest.mark.parametrize("then", [b"result", ValueError("boom"), SkipRetry()], ids=repr)
async def test_a_handler_that_ends_at_the_instant_of_cancellation_keeps_its_outcome(
    runs: Runs, then: Any
) -> None:
    handler = Patient(then=then)
    run = runs.make(handler)
    execution = await started(run)
    handler.release.set()
    while not handler.cleaned:  # noqa: ASYNC110 - to the very step it ends in
        await asyncio.sleep(0)
    assert not execution.done()
    run.cancel(ARCHIVE)
    assert not run.context.cancelled
    assert await execution == (Succeeded(then) if isinstance(then, bytes) else Failed(then))


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (SHUTDOWN, ARCHIVE, SHUTDOWN),
        (ARCHIVE, SHUTDOWN, ARCHIVE),
        (ARCHIVE, LEASE_LOST, LEASE_LOST),
        (LEASE_LOST, ARCHIVE, LEASE_LOST),
    ],
)
async def test_the_first_cancellation_reason_is_kept_except_for_a_lost_lease(
    runs: Runs, first: Cancelled | Interrupted, second: Cancelled | Interrupted, outcome: StopOutcome
) -> None:
    handler = Patient(then=asyncio.CancelledError())
    run = runs.make(handler)
    execution = await started(run)
    run.cancel(first)
    run.cancel(second)
    assert await execution == outcome
    assert handler.cancellations == 1


async def test_cancelling_an_ended_run_changes_nothing(runs: Runs) -> None:
    run = runs.make(Patient())
    execution = await started(run)
    run.cancel(SHUTDOWN)
    await execution
    run.cancel(ARCHIVE)
    assert run.context.cancel_reason is CancelReason.SHUTDOWN


# --- handlers that do not end at once -----------------------------------------------------------------


async def test_clean_up_is_not_interrupted(runs: Runs) -> None:
    handler = Patient(cleaning=10, then=asyncio.CancelledError())
    run = runs.make(handler, grace=1)
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == SHUTDOWN
    assert handler.cleaned


async def test_a_swallowed_cancellation_is_repeated(runs: Runs) -> None:
    handler = Patient(swallows=1, then=asyncio.CancelledError())
    run = runs.make(handler)
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == SHUTDOWN
    assert run.finished.is_set()
    assert handler.cancellations == 2


async def test_a_coroutine_that_does_not_end_keeps_its_slot_but_loses_its_outcome(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Patient(swallows=100)
    run = runs.make(handler)
    execution = await started(run)
    run.cancel(SHUTDOWN)
    with caplog.at_level(logging.WARNING):
        assert await execution == SHUTDOWN
    assert "task id-1 of queue default still runs" in caplog.text
    assert not run.finished.is_set()
    handler.release.set()
    await run.finished.wait()


class Stuck:
    """A plain handler that never checks for cancellation and runs until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self, ctx: Context, task: Task) -> bytes:
        self.begun.set()
        self.release.wait()
        return b"done"

    async def started(self, run: RunOfTest) -> asyncio.Task[Outcome]:
        execution = await started(run)
        await asyncio.to_thread(self.begun.wait)
        return execution


async def test_a_thread_that_does_not_end_keeps_its_slot_but_loses_its_outcome(runs: Runs) -> None:
    handler = Stuck()
    run = runs.make(handler)
    execution = await handler.started(run)
    run.cancel(SHUTDOWN)
    assert await execution == SHUTDOWN
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run.finished.wait(), 0.005)
    handler.release.set()
    await run.finished.wait()


async def test_a_plain_function_that_never_checks_may_finish_within_the_grace_period(runs: Runs) -> None:
    handler = Stuck()
    run = runs.make(handler, grace=5)
    execution = await handler.started(run)
    run.cancel(SHUTDOWN)
    handler.release.set()
    assert await execution == Succeeded(b"done")


async def test_a_run_waiting_for_a_thread_does_not_start_after_a_cancellation() -> None:
    release, called = threading.Event(), []
    threads = CallThreads(1)
    free = occupy(threads, release.wait)
    run = Runs(threads).make(lambda ctx, task: called.append(task))
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == SHUTDOWN
    assert run.finished.is_set()
    release.set()
    await free.wait()
    threads.close()
    assert called == []


async def test_a_wrapped_handler_waiting_for_a_thread_does_not_start_after_a_cancellation() -> None:
    release, called = threading.Event(), []
    threads = CallThreads(1)
    free = occupy(threads, release.wait)
    mux = ServeMux()

    @mux.middleware
    async def around(ctx: Context, task: Task, next: Any) -> Any:  # noqa: A002
        return await next(ctx, task)

    mux.handle("t", lambda ctx, task: called.append(task))
    run = Runs(threads).make(mux)
    execution = await started(run)
    run.cancel(SHUTDOWN)
    assert await execution == SHUTDOWN
    assert run.finished.is_set()
    release.set()
    await free.wait()
    threads.close()
    assert called == []


async def test_an_awaitable_from_a_thread_can_be_cancelled(runs: Runs) -> None:
    handler = Patient(then=asyncio.CancelledError())
    run = runs.make(lambda ctx, task: handler(ctx, task))  # noqa: PLW0108 - a plain function around an async one
    execution = await started(run)
    await aeventually(lambda: any(run.run.owns(task) for task in asyncio.all_tasks()))
    run.cancel(ARCHIVE)
    assert await execution == ARCHIVE
    assert run.finished.is_set()


# --- the server's own cancellation --------------------------------------------------------------------


async def test_cancelling_the_caller_cancels_the_handler(runs: Runs) -> None:
    handler = Patient(then=asyncio.CancelledError())
    run = runs.make(handler)
    execution = await started(run)
    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution
    await run.finished.wait()
    assert handler.reason is CancelReason.SHUTDOWN


def test_a_stuck_thread_does_not_delay_the_end_of_the_loop() -> None:
    handler = Stuck()

    async def serve() -> None:
        execution = await handler.started(Runs(CallThreads(1)).make(handler))
        execution.cancel()
        with suppress(asyncio.CancelledError):
            await execution

    asyncio.run(serve())
    handler.release.set()
