"""Handlers with executor="process"."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from asynq.errors import (
    HandlerError,
    HandlerProcessError,
    LeaseLostError,
    RetryIn,
    RevokeTask,
    SkipRetry,
)
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Succeeded, wraps
from asynq.handlers.processes.process import HandlerProcess
from asynq.protocol.ops import WriteResult
from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS
from tests.programs import program_environment
from tests.unit import process_handlers
from tests.unit.handler_runs import delivery, occupy, started
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq.client.task import Task
    from asynq.handlers.adapters import Handler
    from asynq.handlers.context import Context
    from asynq.handlers.outcome import Outcome
    from tests.unit.handler_runs import Runs


@pytest.fixture
def runs(runs: Runs) -> Iterator[Runs]:
    """Runs whose processes end with the test."""
    yield runs
    runs.processes.close()


def in_process(handler: Handler, **options: Any) -> ServeMux:
    mux = ServeMux()
    mux.handle("t", handler, executor="process", **options)
    return mux


async def failure(runs: Runs, handler: Handler, payload: bytes = b"") -> Exception:
    outcome = await runs.outcome(in_process(handler), delivery(payload=payload))
    assert isinstance(outcome, Failed), outcome
    return outcome.error


async def test_a_function_runs_in_another_process_that_is_reused(runs: Runs) -> None:
    first = await runs.outcome(in_process(process_handlers.pid))
    assert isinstance(first, Succeeded)
    assert first.result != str(os.getpid()).encode()
    assert await runs.outcome(in_process(process_handlers.pid)) == first


async def test_a_process_knows_the_context_of_the_run(runs: Runs) -> None:
    run = runs.make(
        in_process(process_handlers.facts),
        delivery(payload=b"x", queue="low", retried=2, headers={"a": "b"}, timeout=60),
    )
    outcome = await run.execute()
    assert isinstance(outcome, Succeeded)
    assert outcome.result == (
        b'{"cancelled":false,"deadline":%.1f,"headers":{"a":"b"},"id":"id-1","payload":"x","queue":"low","retried":2}'
        % run.context.deadline.timestamp()
    )


async def test_a_process_writes_results_through_its_worker(runs: Runs) -> None:
    assert await runs.outcome(in_process(process_handlers.progress)) == Succeeded(b"done")
    assert runs.broker.executed == [WriteResult(lease=delivery().lease, result=b'{"half":true}')]


async def test_a_refused_result_raises_in_the_process(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(op: object) -> None:
        raise LeaseLostError("default", "id-1")

    monkeypatch.setattr(runs.broker, "execute", refuse)
    error = await failure(runs, process_handlers.progress)
    assert isinstance(error, LeaseLostError)
    assert (error.queue, error.task_id) == ("default", "id-1")


# --- what a handler raises --------------------------------------------------------------------------------


async def test_an_error_keeps_its_class_message_and_traceback(runs: Runs) -> None:
    error = await failure(runs, process_handlers.fail, b"value")
    assert type(error) is ValueError
    assert str(error) == "boom"
    assert "in fail\n" in error.__notes__[0]


@pytest.mark.parametrize(("payload", "verdict"), [(b"skip", SkipRetry), (b"revoke", RevokeTask)])
async def test_a_verdict_as_a_cause_takes_effect(
    runs: Runs, payload: bytes, verdict: type[Exception]
) -> None:
    assert wraps(await failure(runs, process_handlers.fail, payload), verdict)


@pytest.mark.parametrize("payload", [b"later", b"odd later"])
async def test_a_retry_that_a_handler_asks_for_keeps_its_time(runs: Runs, payload: bytes) -> None:
    error = await failure(runs, process_handlers.fail, payload)
    assert isinstance(error, RetryIn)
    assert error.retry_in == timedelta(seconds=7)
    assert "busy" in str(error)


@pytest.mark.parametrize(
    ("payload", "text"), [(b"odd", "OddError: odd"), (b"exit", "the handler raised SystemExit: 3")]
)
async def test_an_error_that_cannot_be_pickled_is_sent_as_text(runs: Runs, payload: bytes, text: str) -> None:
    error = await failure(runs, process_handlers.fail, payload)
    assert isinstance(error, HandlerError)
    assert str(error) == text


async def test_an_error_that_formats_its_text_keeps_it(runs: Runs) -> None:
    error = await failure(runs, process_handlers.fail, b"formats")
    assert type(error) is process_handlers.FormatsError
    assert (str(error), error.number) == ("bad 3", 3)


async def test_a_process_is_reused_after_an_error(runs: Runs) -> None:
    before = await runs.outcome(in_process(process_handlers.pid))
    await failure(runs, process_handlers.fail, b"value")
    await failure(runs, process_handlers.unpicklable_result)
    assert await runs.outcome(in_process(process_handlers.pid)) == before


@pytest.mark.parametrize(
    ("payload", "exitcode"),
    [(b"segfault", -signal.SIGSEGV), (b"9", -signal.SIGKILL), (b"40", -40), (b"exit", 7)],
)
async def test_a_crashed_process_fails_only_its_own_handler(
    runs: Runs, payload: bytes, exitcode: int
) -> None:
    error = await failure(runs, process_handlers.crash, payload)
    assert isinstance(error, HandlerProcessError)
    assert error.exitcode == exitcode
    assert isinstance(await runs.outcome(in_process(process_handlers.pid)), Succeeded)


async def test_a_thread_left_by_a_handler_does_not_affect_later_calls(runs: Runs) -> None:
    assert await runs.outcome(in_process(process_handlers.leaves_a_thread)) == Succeeded()
    for number in range(20):
        payload = b'{"number": %d}' % number
        doubled = await runs.outcome(
            in_process(process_handlers.double, payload=process_handlers.Order), delivery(payload=payload)
        )
        assert doubled == Succeeded(b"%d" % (2 * number))


@pytest.mark.parametrize("payload", [b"return", b"raise", b"write"])
async def test_a_child_forked_by_a_handler_answers_no_call(runs: Runs, payload: bytes) -> None:
    assert await runs.outcome(in_process(process_handlers.forks), delivery(payload=payload)) == Succeeded(
        b"its own"
    )
    assert (await runs.outcome(in_process(process_handlers.pid))) == await runs.outcome(
        in_process(process_handlers.pid)
    )


async def test_the_end_of_an_idle_process_fails_no_task(runs: Runs) -> None:
    outcome = await runs.outcome(in_process(process_handlers.pid))
    assert isinstance(outcome, Succeeded)
    assert outcome.result is not None
    process = psutil.Process(int(outcome.result))
    process.kill()
    process.wait(60)
    assert isinstance(await runs.outcome(in_process(process_handlers.pid)), Succeeded)


async def test_a_signal_to_all_processes_does_not_end_handler_processes(runs: Runs) -> None:
    outcome = await runs.outcome(in_process(process_handlers.pid))
    assert isinstance(outcome, Succeeded)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(int(outcome.result or 0), number)
    assert await runs.outcome(in_process(process_handlers.pid)) == outcome


# --- killing ----------------------------------------------------------------------------------------------


def noted(file: Path) -> list[psutil.Process]:
    """The processes that `spin` recorded."""
    eventually(file.exists)
    return [psutil.Process(int(number)) for number in file.read_text().split()]


async def at_work(file: Path) -> list[psutil.Process]:
    return await asyncio.to_thread(noted, file)


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def all_gone(processes: list[psutil.Process]) -> bool:
    return eventually(lambda: not any(is_alive(process) for process in processes))


@pytest.mark.parametrize("stop", [Cancelled("archive"), Interrupted("lease_lost"), Interrupted("shutdown")])
async def test_a_cancelled_run_is_killed_with_all_its_child_processes(
    runs: Runs, tmp_path: Path, stop: Cancelled | Interrupted
) -> None:
    run = runs.make(
        in_process(process_handlers.spin), delivery(payload=str(tmp_path / "f").encode()), grace=5
    )
    execution = asyncio.create_task(run.execute())
    processes = await at_work(tmp_path / "f")
    run.cancel(stop)
    assert await execution == stop
    await run.finished.wait()
    assert all_gone(processes)
    assert isinstance(await runs.outcome(in_process(process_handlers.pid)), Succeeded)


async def test_the_handler_is_killed_when_its_middleware_stops_waiting(runs: Runs, tmp_path: Path) -> None:
    mux = in_process(process_handlers.spin)
    seen: list[psutil.Process] = []

    @mux.middleware
    async def impatient(ctx: Context, task: Task, next: Any) -> Any:  # noqa: A002
        work = asyncio.ensure_future(next(ctx, task))
        seen.extend(await at_work(tmp_path / "f"))
        work.cancel()
        return await work

    run = runs.make(mux, delivery(payload=str(tmp_path / "f").encode()))
    await run.execute()
    await run.finished.wait()
    assert all_gone(seen)


async def test_a_run_cancelled_before_its_process_starts_does_not_start(runs: Runs) -> None:
    children = psutil.Process().children()
    release, busy = threading.Event(), threading.Barrier(3)
    for _ in range(2):
        occupy(runs.threads, lambda: (busy.wait(5), release.wait(5)))
    busy.wait(5)
    run = runs.make(in_process(process_handlers.pid))
    execution = await started(run)
    run.cancel(Interrupted("shutdown"))
    assert await execution == Interrupted("shutdown")
    release.set()
    await run.finished.wait()
    assert psutil.Process().children() == children


async def test_closing_the_pool_ends_busy_and_idle_processes(runs: Runs, tmp_path: Path) -> None:
    idle = await runs.outcome(in_process(process_handlers.pid))
    assert isinstance(idle, Succeeded)
    execution: asyncio.Task[Outcome] = asyncio.create_task(
        runs.outcome(in_process(process_handlers.spin), delivery(payload=str(tmp_path / "f").encode()))
    )
    processes = [psutil.Process(int(idle.result or 0)), *(await at_work(tmp_path / "f"))]
    runs.processes.close()
    outcome = await execution
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerProcessError)
    assert all_gone(processes)
    assert isinstance(await runs.outcome(in_process(process_handlers.pid)), Failed)


# --- what is refused --------------------------------------------------------------------------------------


class Callable:
    def __call__(self, ctx: Context, task: Task) -> None: ...

    def method(self, ctx: Context, task: Task) -> None: ...


def local() -> Handler:
    def handler(ctx: Context, task: Task) -> None: ...

    return handler


@pytest.mark.parametrize(
    "handler", [lambda ctx, task: None, local(), Callable(), Callable().method, partial(process_handlers.pid)]
)
def test_a_handler_that_a_process_cannot_import_is_refused(handler: Handler) -> None:
    mux = ServeMux()
    with pytest.raises(TypeError, match="top level of a module"):
        mux.handle("t", handler, executor="process")


async def test_an_async_handler_is_refused() -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    with pytest.raises(ValueError, match="executor is for sync functions"):
        in_process(handler)


async def test_a_function_whose_name_refers_to_another_fails_with_the_reason(runs: Runs) -> None:
    assert "decorated_over" in str(await failure(runs, process_handlers.original))


def test_handler_processes_end_when_their_worker_is_killed(tmp_path: Path) -> None:
    program = """
import asyncio, os, sys
from tests.unit import process_handlers
from tests.unit.handler_runs import delivery, Runs
from asynq.handlers.mux import ServeMux
from asynq.runtime.thread_calls import CallThreads

mux = ServeMux()
mux.handle("t", process_handlers.spin, executor="process")

async def main():
    await Runs(CallThreads(1)).outcome(mux, delivery(payload=sys.argv[1].encode()))

asyncio.run(main())
"""
    (tmp_path / "app.py").write_text(program)
    environment = program_environment()
    worker = subprocess.Popen([sys.executable, tmp_path / "app.py", str(tmp_path / "f")], env=environment)
    processes = noted(tmp_path / "f")
    worker.kill()
    worker.wait()
    assert all_gone(processes)


async def test_a_signal_to_all_processes_does_not_end_a_starting_one(runs: Runs) -> None:
    """A service manager signals every process of a service; the worker must first finish its tasks."""
    process = HandlerProcess()
    for number in CHILD_MASKED_SIGNALS:
        os.kill(process._process.pid, number)
    runs.processes._all.add(process)
    runs.processes.give_back(process)
    outcome = await runs.outcome(in_process(process_handlers.pid))
    assert outcome == Succeeded(str(process._process.pid).encode())
