"""What a server says of runs that did not succeed, to whoever set no hook."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import RateLimited, RevokeTask, SkipRetry
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Cancelled, Failed
from asynq.protocol.message import Delivery, TaskMessage
from asynq.protocol.ops import Archive, Retry
from asynq.runtime.logs import tell_failure
from asynq.task_state import TaskState
from asynq.worker.failure_log import MAX_FAILURE_KINDS, FailureLog
from asynq_redis import RedisBroker
from tests.server.conftest import opened
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from tests.server.conftest import ServerLab
    from tests.servers import RedisServer

SOON: dict[str, Any] = {"retry_delay": lambda *_: timedelta(0)}


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "asynq")
    return caplog


def lines(told: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """Level, text and whether there is a traceback, of what was said about tasks."""
    return [
        (record.levelname, record.getMessage(), bool(record.exc_info))
        for record in told.records
        if record.name == "asynq.processor"
    ]


@pytest.mark.parametrize("hooks", [{}, {"on_error": lambda *_: None}])
async def test_a_lost_lease_is_one_line(
    redis_server: RedisServer, told: pytest.LogCaptureFixture, hooks: dict[str, Any]
) -> None:
    running = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        running.set()
        await asyncio.Event().wait()

    async with (
        opened(RedisBroker(redis_server.url)) as lab,
        lab.serving(handler, lease=timedelta(seconds=1), **hooks),
    ):
        await lab.enqueue("email", id="7")
        await running.wait()
        redis_server.client.flushdb()
        await aeventually(lambda: lines(told))
    assert lines(told) == [("WARNING", "task '7' of queue 'default': the lease is lost", False)]


@pytest.mark.parametrize("hooks", [{}, {"on_error": lambda *_: None}])
async def test_failures_are_logged_on_one_line_the_first_and_the_last_with_a_traceback(
    memory: ServerLab, told: pytest.LogCaptureFixture, hooks: dict[str, Any]
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom\nbang")

    async with memory.serving(handler, **SOON, **hooks):
        await memory.reaches(await memory.enqueue("email", id="7", max_retry=2), TaskState.ARCHIVED)
    task, why = "task '7' (email) of queue 'default'", "ValueError: boom\\nbang"
    assert lines(told) == [
        ("WARNING", f"{task} is retried (1/2) in 0s: {why}", True),
        ("WARNING", f"{task} is retried (2/2) in 0s: {why}", False),
        ("ERROR", f"{task} is archived, retries exhausted (2/2): {why}", True),
    ]


async def test_a_new_failure_is_logged_with_a_traceback(
    memory: ServerLab, told: pytest.LogCaptureFixture
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        if ctx.retried == 2:
            raise KeyError("another kind")
        raise ValueError(task.type)

    async with memory.serving(handler, **SOON):
        for task_type in ("email", "email", "report"):
            await memory.reaches(await memory.enqueue(task_type, max_retry=3), TaskState.ARCHIVED)
    assert [trace for _, _, trace in lines(told)] == [
        *(True, False, True, True),
        *(False, False, False, True),
        *(True, False, True, True),
    ]
    assert all("in handler" in record.exc_text for record in told.records if record.exc_text)


def test_the_memory_of_logged_task_types_is_bounded(told: pytest.LogCaptureFixture) -> None:
    failures, error = FailureLog(), ValueError("boom")
    for number in range(MAX_FAILURE_KINDS + 1):
        message = TaskMessage(id="7", type=str(number), queue="default", max_retry=1)
        delivery = Delivery(message=message, token="k", expires_at=0)
        failures.log(Retry(delivery=delivery, delay=0, error="", failure=True), Failed(error))
    assert [trace for _, _, trace in lines(told)] == [*[True] * MAX_FAILURE_KINDS, False]


async def test_every_failure_is_logged_with_a_traceback_at_debug_level(
    memory: ServerLab, told: pytest.LogCaptureFixture
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom")

    told.set_level(logging.DEBUG, "asynq.processor")
    async with memory.serving(handler, **SOON):
        await memory.reaches(await memory.enqueue(max_retry=1), TaskState.ARCHIVED)
    assert [trace for _, _, trace in lines(told)] == [True, True]


async def test_a_type_without_a_handler_is_logged(memory: ServerLab, told: pytest.LogCaptureFixture) -> None:
    async with memory.serving(ServeMux()):
        await memory.reaches(await memory.enqueue("emial", max_retry=0), TaskState.ARCHIVED)
    [(_, advice, _), (level, text, trace)] = lines(told)
    assert advice.startswith("no handler matches the task type 'emial'")
    assert (level, trace) == ("ERROR", False)
    assert text.endswith("handler not found for task 'emial'")


@pytest.mark.parametrize(
    ("error", "state", "line"),
    [
        (
            SkipRetry("no such user"),
            TaskState.ARCHIVED,
            ("ERROR", "is archived after 0 of 25 retries", False),
        ),
        (RevokeTask("too old"), None, ("INFO", "is revoked: too old", False)),
        (
            RateLimited(timedelta(hours=1)),
            TaskState.RETRY,
            ("INFO", "is delayed by a limit for 1h0m0s: ", False),
        ),
        (OSError("x"), TaskState.RETRY, ("WARNING", "is retried (not counted) in 1h0m0s: OSError: x", True)),
    ],
)
async def test_a_verdict_is_logged_as_such(
    memory: ServerLab,
    told: pytest.LogCaptureFixture,
    error: Exception,
    state: TaskState | None,
    line: tuple[str, str, bool],
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise error

    rules = {"is_failure": lambda error: False, "retry_delay": lambda *_: timedelta(hours=1)}
    async with memory.serving(handler, **rules):
        await memory.reaches(await memory.enqueue(max_retry=25), state)
    [(told_level, text, trace)] = lines(told)
    level, what, traced = line
    assert (told_level, trace) == (level, traced)
    assert what in text


async def test_success_is_not_logged(memory: ServerLab, told: pytest.LogCaptureFixture) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        pass

    async with memory.serving(handler):
        await memory.reaches(await memory.enqueue(), None)
    assert lines(told) == []


async def test_tasks_requeued_by_a_shutdown_are_logged(
    memory: ServerLab, told: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with memory.serving(handler, shutdown_timeout=timedelta(0)):
        await memory.enqueue(id="7")
        await begun.wait()
    assert lines(told) == [("INFO", "task '7' (t) of queue 'default' is requeued", False)]


class Breaks(logging.Handler):
    """Fails as handlers do that send records somewhere, and as a filter that expects other records."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError("no log server")


def breaks(record: logging.LogRecord) -> bool:
    raise AttributeError("no request_id")


def exits(record: logging.LogRecord) -> bool:
    raise SystemExit(3)


@pytest.mark.parametrize("broken", [Breaks(), breaks, exits])
async def test_failing_log_handlers_do_not_stop_a_server(
    memory: ServerLab, log_failures: list[BaseException], broken: Any
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom")

    logs = [logging.getLogger(f"asynq.{part}") for part in ("server", "processor")]
    add, remove = (
        ("addHandler", "removeHandler") if broken.__class__ is Breaks else ("addFilter", "removeFilter")
    )
    for log in logs:
        getattr(log, add)(broken)
    try:
        async with memory.serving(handler, **SOON):
            for _ in range(3):
                await memory.reaches(await memory.enqueue(max_retry=1), TaskState.ARCHIVED)
    finally:
        for log in logs:
            getattr(log, remove)(broken)
    assert len(log_failures) >= 6
    log_failures.clear()


def test_failing_log_handlers_are_reported_on_stderr_if_available(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_failure(ConnectionError("no log server"))
    assert "ConnectionError: no log server" in capsys.readouterr().err
    monkeypatch.setattr("sys.stderr", None)
    tell_failure(ConnectionError("no log server"))


def test_a_task_that_an_operator_ended_is_logged_without_its_retries(
    told: pytest.LogCaptureFixture,
) -> None:
    message = TaskMessage(id="7", type="t", queue="q", max_retry=0)
    op = Archive(delivery=Delivery(message=message, token="x", expires_at=0), error="")
    FailureLog().log(op, Cancelled("archive"))
    why = "the task was cancelled: an operator requested it"
    assert lines(told) == [("ERROR", f"task '7' (t) of queue 'q' is archived: {why}", False)]
