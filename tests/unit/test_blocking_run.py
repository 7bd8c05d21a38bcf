"""The event loop of a blocking run, which users' coroutines cannot end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest

from asynq.runtime.blocking_run import run_blocking, run_to_end
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


def uvloop_loop() -> asyncio.AbstractEventLoop:
    return pytest.importorskip("uvloop").new_event_loop()  # type: ignore[no-any-return]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    loop = request.param()
    yield loop
    loop.close()


async def go_on() -> None:
    """Wait for a timer of the event loop."""
    timer = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, timer.set)
    await timer.wait()


async def leaves(error: BaseException) -> None:
    await asyncio.sleep(0)
    raise error


async def in_a_group(error: BaseException) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(leaves(error))


async def gathered(error: BaseException) -> None:
    await asyncio.gather(leaves(error), asyncio.Event().wait())


async def waited_for(error: BaseException) -> None:
    await asyncio.wait_for(leaves(error), 60)


async def within_another(error: BaseException) -> None:
    await asyncio.create_task(in_a_group(error))


@pytest.mark.parametrize("way", [in_a_group, gathered, waited_for, within_another])
@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt()], ids=["exit", "interrupt"])
def test_a_system_exit_reaches_the_waiting_coroutine_and_the_loop_continues(
    loop: asyncio.AbstractEventLoop,
    way: Callable[[BaseException], Coroutine[Any, Any, None]],
    error: BaseException,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "asynq.runtime.blocking_run._interrupts", lambda: False
    )  # like a server that handles signals

    async def main() -> str:
        with pytest.raises(type(error)):
            await way(error)
        await go_on()
        return "went on"

    assert run_to_end(loop, main()) == "went on"


def test_a_system_exit_in_callbacks_and_unawaited_tasks_is_logged(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> str:
        running = asyncio.get_running_loop()
        running.call_soon(sys.exit, 2)
        forgotten = asyncio.create_task(leaves(SystemExit(2)))
        running.call_soon(running.stop)
        await aeventually(lambda: caplog.text.count("tried to exit the process") == 2)
        # Afterwards: of two exits in one iteration, from a timer and from another callback, uvloop keeps one.
        running.call_later(0.01, sys.exit, 2)
        await aeventually(lambda: caplog.text.count("tried to exit the process") == 3)
        assert isinstance(forgotten.exception(), SystemExit)
        return "went on"

    assert run_to_end(loop, main()) == "went on"
    assert caplog.text.count("tried to exit the process") == 3
    assert "in leaves" in caplog.text


def test_a_signal_handler_that_raises_does_not_end_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    async def main() -> str:
        came = asyncio.Event()

        def handle(*_: object) -> None:
            loop.call_soon_threadsafe(came.set)
            raise ValueError("from a signal handler")

        before = signal.signal(signal.SIGALRM, handle)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            await came.wait()
        finally:
            signal.signal(signal.SIGALRM, before)
        return "went on"

    assert run_to_end(loop, main()) == "went on"


def test_a_log_handler_that_raises_does_not_end_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    def breaks(record: logging.LogRecord) -> bool:
        raise ValueError(record.name)

    async def main() -> str:
        asyncio.get_running_loop().call_soon(dict.pop, {}, "what asyncio then logs")
        await go_on()
        return "went on"

    log = logging.getLogger("asyncio")
    log.addFilter(breaks)
    try:
        assert run_to_end(loop, main()) == "went on"
    finally:
        log.removeFilter(breaks)


def test_a_failing_event_loop_ends_the_run(loop: asyncio.AbstractEventLoop) -> None:
    class Broken:
        create_task, call_soon = loop.create_task, loop.call_soon

        def run_forever(self) -> None:
            raise OSError("too many open files")

    coroutine = leaves(ValueError())
    with pytest.raises(OSError, match="too many open files"):
        run_to_end(cast("Any", Broken()), coroutine)
    with pytest.raises(ValueError, match=r"^$"):
        loop.run_until_complete(next(iter(asyncio.all_tasks(loop))))


def test_an_exception_of_the_coroutine_is_raised(loop: asyncio.AbstractEventLoop) -> None:
    for error in (SystemExit(3), ValueError("boom"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            run_to_end(loop, leaves(error))


def test_ctrl_c_cancels_the_coroutine_and_is_raised_after_its_end(
    loop: asyncio.AbstractEventLoop,
) -> None:
    ended = False

    async def main() -> None:
        nonlocal ended
        asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await go_on()
            ended = True

    with pytest.raises(KeyboardInterrupt):
        run_to_end(loop, main())
    assert ended


def test_a_task_that_exits_during_the_final_cancellation_does_not_change_the_result() -> None:
    async def exits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            sys.exit(2)

    async def main() -> None:
        leftovers.append(asyncio.create_task(exits()))
        await asyncio.sleep(0)

    leftovers: list[asyncio.Task[None]] = []
    run_blocking(main, "nothing")
    assert isinstance(leftovers[0].exception(), SystemExit)
