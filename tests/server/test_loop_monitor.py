"""A handler that blocks the event loop is named, with its stack, and the lag of the loop can be asked."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from asynq.runtime.blocking_run import run_to_end
from asynq.runtime.loop_monitor import LoopMonitor
from asynq.server import Server
from asynq_sqlite import MemoryBroker
from tests.server.conftest import ServerLab
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from asynq.client.task import Task
    from asynq.handlers.context import Context

    Act = Callable[[ServerLab, Server], Awaitable[None]]

WARNING = timedelta(milliseconds=100)
LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
STALL = 0.3
"""Seconds for which `dawdle` blocks at least: well above the threshold, well below a task's time."""


class Reported(logging.Filter):
    """Notes that a stack with `dawdle` is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and "in dawdle" in "".join(traceback.format_exception(record.exc_info[1])):
            self.event.set()
        return True


REPORTED = Reported()


@pytest.fixture(autouse=True)
def reported() -> Iterator[None]:
    REPORTED.event.clear()
    logger = logging.getLogger("asynq.loop")
    logger.addFilter(REPORTED)
    yield
    logger.removeFilter(REPORTED)


def dawdle() -> None:
    """Block the thread until that is reported, but not for ever: a stall is reported once."""
    began = time.monotonic()

    def over() -> bool:
        lasted = time.monotonic() - began
        return lasted > 3 * STALL or (lasted > STALL and REPORTED.event.is_set())

    eventually(over)


async def handler(ctx: Context, task: Task) -> None:
    if task.type == "block":
        dawdle()
    elif task.type == "lock":
        hold_interpreter_lock()
    else:
        await asyncio.Event().wait()


def hold_interpreter_lock() -> None:
    bits = 1 << 18
    while True:
        began = time.monotonic()
        pow(3, bits)
        if time.monotonic() - began > 2 * WARNING.total_seconds():
            return
        bits *= 2


def serve(loop_factory: Any, act: Act, **options: Any) -> Server:
    """Run a server in a loop of this kind while `act` goes on."""

    async def main() -> Server:
        broker = MemoryBroker()
        lab = ServerLab(broker)
        options.setdefault("stall_warning", WARNING)
        async with lab.serving(handler, shutdown_timeout=timedelta(0), **options) as server:
            await act(lab, server)
        await broker.aclose()
        broker.close()
        return server

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def reports(caplog: pytest.LogCaptureFixture, what: str) -> list[logging.LogRecord]:
    return [
        record for record in caplog.records if record.name == "asynq.loop" and what in record.getMessage()
    ]


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_handler_that_blocks_the_loop_is_logged_with_its_stack_and_at_its_end(
    loop_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ids: dict[str, str] = {}

    async def act(lab: ServerLab, server: Server) -> None:
        ids["calm"] = await lab.enqueue("calm")
        # A stall that began before the handler did is reported without it.
        while not REPORTED.event.is_set():
            ids["block"] = await lab.enqueue("block")
            await lab.reaches(ids["block"], None)
        await aeventually(lambda: "responsive again" in reports(caplog, "")[-1].getMessage())

    serve(loop_factory, act)
    # On a busy machine the process as a whole may be held up as well, which names all runs.
    [mine] = reports(caplog, f"the handler of task '{ids['block']}' (block) of queue 'default'")
    assert "has been blocked" in mine.getMessage()
    assert ids["calm"] not in mine.getMessage()
    assert mine.levelname == "WARNING"
    stack = mine.exc_text or ""
    assert __file__ in stack
    assert "in dawdle" in stack
    assert "in handler" in stack
    lasted = [float(over.getMessage().split()[-2]) for over in reports(caplog, "responsive again")]
    assert max(lasted) >= STALL - 0.1


def test_a_handler_that_holds_the_interpreter_lock_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task_id = ""

    async def act(lab: ServerLab, server: Server) -> None:
        nonlocal task_id
        task_id = await lab.enqueue("lock")
        await aeventually(
            lambda: any(task_id in one.getMessage() for one in reports(caplog, "has been blocked"))
        )

    serve(asyncio.new_event_loop, act)


def test_a_blocking_coroutine_that_is_not_a_handler_is_logged_as_such(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(lab: ServerLab, server: Server) -> None:
        async def other() -> None:
            dawdle()

        await asyncio.create_task(other(), name="the other one")
        await aeventually(lambda: reports(caplog, "responsive again"))

    serve(asyncio.new_event_loop, act)
    [record, *_] = reports(caplog, "the other one")
    assert "is not a handler" in record.getMessage()


@pytest.mark.parametrize("warning", [WARNING, None])
def test_the_lag_of_the_loop_can_be_read_from_any_thread(
    warning: timedelta | None, caplog: pytest.LogCaptureFixture
) -> None:
    lags: list[timedelta] = []

    async def act(lab: ServerLab, server: Server) -> None:
        def lagging() -> None:
            eventually(lambda: server.loop_lag >= timedelta(seconds=0.2))
            lags.append(server.loop_lag)

        asking = asyncio.create_task(asyncio.to_thread(lagging))
        await asyncio.sleep(0)
        while not asking.done():
            dawdle()
            await asyncio.sleep(0)
        await asking

    server = serve(asyncio.new_event_loop, act, stall_warning=warning)
    assert lags
    assert server.loop_lag == timedelta(0)
    assert bool(reports(caplog, "has been blocked")) == (warning is not None)


def test_a_server_that_has_not_started_has_no_lag() -> None:
    assert Server(MemoryBroker()).loop_lag == timedelta(0)


async def test_a_failed_report_does_not_end_the_monitor(caplog: pytest.LogCaptureFixture) -> None:
    def confused(task: asyncio.Task[Any] | None) -> str:
        raise RuntimeError("dictionary changed size during iteration")

    monitor = LoopMonitor(warning=0.05, describe=confused)
    monitor.start()
    for count in (1, 2):
        dawdle()
        await aeventually(lambda count=count: len(reports(caplog, "responsive again")) >= count)  # type: ignore[misc]
    monitor.close()
    assert "an unknown coroutine" in caplog.text


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_the_logged_stack_ends_at_the_event_loop_and_the_record_gives_advice(
    loop_factory: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        monitor = LoopMonitor(warning=WARNING.total_seconds(), describe=lambda _: "a test")
        monitor.start()
        dawdle()
        await aeventually(lambda: reports(caplog, "responsive again"))
        monitor.close()

    loop = loop_factory()
    try:
        run_to_end(loop, main())
    finally:
        loop.close()
    record = next(one for one in reports(caplog, "has been blocked") if "in dawdle" in (one.exc_text or ""))
    assert "It is running a test. Move blocking code to a `def` handler" in record.getMessage()
    assert "in test_the_logged_stack_ends" not in (record.exc_text or "")
