from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest

from asynq.runtime import thread_calls
from asynq.runtime.thread_calls import CallThreads, ThreadCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUCK = """
import asyncio, threading
from contextvars import copy_context
from asynq.runtime.thread_calls import CallThreads, ThreadCall
begun = threading.Event()
async def main():
    CallThreads(1).submit(ThreadCall(lambda: (begun.set(), threading.Event().wait()), copy_context(), print))
asyncio.run(main())
begun.wait()
"""


class Calls:
    """Threads, and what their calls returned, in the order in which the event loop heard of it."""

    def __init__(self, size: int) -> None:
        self.threads = CallThreads(size, name="calls")
        self.ended: list[ThreadCall[Any]] = []
        self._changed = asyncio.Event()

    def submit(self, function: Callable[[], Any]) -> ThreadCall[Any]:
        call = ThreadCall(function, copy_context(), self._end)
        self.threads.submit(call)
        return call

    def run(self, *functions: Callable[[], Any]) -> None:
        for function in functions:
            self.threads.add(ThreadCall(function, copy_context(), self._end))
        self.threads.run_added()

    async def start_threads(self, number: int) -> None:
        """Start so many threads, which are idle soon."""
        together = threading.Barrier(number)
        self.run(*[lambda: together.wait(5)] * number)
        await self.results(len(self.ended) + number)

    async def results(self, number: int) -> list[Any]:
        while len(self.ended) < number:
            self._changed.clear()
            await self._changed.wait()
        return [call.take() for call in self.ended]

    def _end(self, call: ThreadCall[Any]) -> None:
        self.ended.append(call)
        self._changed.set()


@pytest.fixture
def opened() -> Iterator[Callable[[int], Calls]]:
    made: list[Calls] = []

    def make(size: int) -> Calls:
        made.append(Calls(size))
        return made[-1]

    yield make
    for calls in made:
        calls.threads.close()


async def test_calls_return_and_raise_as_their_functions_do(opened: Callable[[int], Calls]) -> None:
    calls = opened(2)
    calls.submit(lambda: 1 + 1)
    assert await calls.results(1) == [2]


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(3), ZeroDivisionError()], ids=repr)
async def test_whatever_a_function_raises_is_passed_on(
    opened: Callable[[int], Calls], error: BaseException
) -> None:
    def fail() -> None:
        raise error

    calls = opened(1)
    call = calls.submit(fail)
    while not calls.ended:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(type(error)) as raised:
        call.take()
    assert raised.value is error


async def test_calls_run_concurrently_up_to_the_number_of_threads(opened: Callable[[int], Calls]) -> None:
    calls = opened(3)
    together = threading.Barrier(3)
    for _ in range(6):
        calls.submit(lambda: together.wait(5))
    assert sorted(await calls.results(6)) == [0, 0, 1, 1, 2, 2]
    for _ in range(20):
        calls.submit(threading.get_ident)
    assert len({*(await calls.results(26))[6:]}) <= 3


async def test_no_call_waits_while_another_thread_can_be_started(opened: Callable[[int], Calls]) -> None:
    for _ in range(200):
        calls = opened(2)
        together = threading.Barrier(2)
        for _ in range(2):
            calls.submit(lambda: together.wait(5))  # noqa: B023
        assert sorted(await calls.results(2)) == [0, 1]
        calls.threads.close()


async def test_no_call_waits_for_a_blocked_one_while_a_thread_is_idle(opened: Callable[[int], Calls]) -> None:
    calls = opened(2)
    together = threading.Barrier(2)
    for number in range(100):
        for _ in range(2):
            calls.submit(lambda: together.wait(5))
        await calls.results(2 * number + 2)


async def test_calls_added_together_run_while_the_event_loop_waits_for_one_of_them(
    opened: Callable[[int], Calls],
) -> None:
    calls = opened(3)
    for _ in range(50):
        await calls.start_threads(3)
        released, done = threading.Event(), threading.Semaphore(0)

        def wait() -> None:
            assert released.wait(5)  # noqa: B023
            done.release()  # noqa: B023

        calls.run(wait, wait, released.set)
        for _ in range(2):
            assert done.acquire(timeout=5)  # the event loop is blocked meanwhile


@pytest.fixture
def undivided() -> Iterator[None]:
    """No thread gets the interpreter lock from another one that does not give it up."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("undivided")
async def test_short_calls_added_together_are_run_by_one_thread_and_reported_without_a_wake_up(
    opened: Callable[[int], Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_calls, "HAND_OVER", 60)
    loop, woken = asyncio.get_running_loop(), list[Any]()
    calls, threads = opened(3), list[int]()
    await calls.start_threads(3)
    while len(calls.threads._idle) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *call: woken.append(call))
    calls.threads._pause = 0
    calls.run(*[lambda: threads.append(threading.get_ident())] * 50)
    assert len(threads) == 50
    assert len({*threads}) == 1
    await calls.results(53)
    assert not woken


async def test_calls_wait_for_the_threads_that_could_be_started(
    opened: Callable[[int], Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    calls = opened(3)
    await calls.start_threads(1)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    calls.run(*[int] * 20)
    assert len(await calls.results(21)) == 21
    with pytest.raises(RuntimeError, match="start"):
        opened(1).submit(int)


async def test_an_idle_thread_is_reused(opened: Callable[[int], Calls]) -> None:
    calls = opened(100)
    for number in range(100):
        calls.submit(int)
        await calls.results(number + 1)
    assert sum(thread.name.startswith("calls-") for thread in threading.enumerate()) < 10


async def test_the_event_loop_is_woken_once_for_all_calls_that_have_ended(
    opened: Callable[[int], Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, woken = asyncio.get_running_loop(), list[Any]()
    wake = loop.call_soon_threadsafe

    def counting(*args: Any, **options: Any) -> Any:
        woken.append(args)
        return wake(*args, **options)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    calls, done = opened(1), threading.Semaphore(0)
    for _ in range(50):
        calls.submit(done.release)
    for _ in range(50):
        assert done.acquire(timeout=5)  # the event loop is blocked meanwhile
    await calls.results(50)
    assert len(woken) <= 2  # the last release comes before the end of its call


async def test_calls_see_their_context_variables(opened: Callable[[int], Calls]) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    variable.set("seen")
    calls = opened(1)
    calls.submit(variable.get)
    assert await calls.results(1) == ["seen"]


async def test_an_error_in_the_report_of_a_call_does_not_lose_other_reports(
    opened: Callable[[int], Calls],
) -> None:
    loop, errors = asyncio.get_running_loop(), list[Any]()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
    calls, release = opened(1), threading.Event()

    def fail(_: ThreadCall[Any]) -> None:
        raise ValueError("boom")

    calls.threads.submit(ThreadCall(lambda: release.wait(5), copy_context(), fail))
    calls.submit(int)
    release.set()
    assert await calls.results(1) == [0]
    assert [type(error) for error in errors] == [ValueError]


async def test_a_waiting_call_can_be_withdrawn_but_not_a_running_one(opened: Callable[[int], Calls]) -> None:
    calls, release, begun = opened(1), threading.Event(), threading.Event()
    running = calls.submit(lambda: begun.set() or release.wait(5))  # type: ignore[func-returns-value]
    waiting = calls.submit(int)
    begun.wait(5)
    assert calls.threads.withdraw(waiting)
    assert not calls.threads.withdraw(running)
    release.set()
    await calls.results(1)
    assert not calls.threads.withdraw(running)


async def test_closing_refuses_new_calls_and_drops_waiting_ones(opened: Callable[[int], Calls]) -> None:
    calls, release, begun = opened(1), threading.Event(), threading.Event()
    calls.submit(lambda: begun.set() or release.wait(5))  # type: ignore[func-returns-value]
    waiting = calls.submit(int)
    begun.wait(5)
    calls.threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        calls.submit(int)
    assert not calls.threads.withdraw(waiting)
    release.set()
    assert await calls.results(1) == [True]


def test_there_is_at_least_one_thread() -> None:
    with pytest.raises(ValueError, match="size"):
        CallThreads(0)


def test_a_stuck_thread_does_not_delay_the_end_of_the_interpreter() -> None:
    ended = subprocess.run([sys.executable, "-c", STUCK], timeout=20, check=False)
    assert ended.returncode == 0


class Big:
    """Something that a failing function refers to."""


@pytest.mark.parametrize("taken", [True, False])
async def test_what_a_failed_function_referred_to_is_freed(
    opened: Callable[[int], Calls], taken: bool
) -> None:
    freed = list[weakref.ref[Big]]()

    def fail() -> None:
        big = Big()
        freed.append(weakref.ref(big))
        raise ValueError(big)

    calls = opened(1)
    gc.disable()
    try:
        calls.submit(fail)
        if taken:
            with pytest.raises(ValueError):
                await calls.results(1)
        else:
            while not calls.ended:  # noqa: ASYNC110
                await asyncio.sleep(0)
        calls.ended.clear()
        calls.submit(int)
        await calls.results(1)
        assert freed[0]() is None
    finally:
        gc.enable()
