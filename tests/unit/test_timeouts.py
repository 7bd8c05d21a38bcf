"""Timeouts look for what has arrived before they expire."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from asynq.runtime import timeouts
from tests.waiting import let_pass

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHORT = 0.05
LONG = 60.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
        yield runner.run


def hold_up(seconds: float) -> None:
    """Block the event loop, as if the process was stopped."""
    let_pass(seconds)


async def _stream() -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    return reader, writer, theirs


@pytest.mark.parametrize("lateness", [0.0, 3 * timeouts.LATE])
def test_data_that_arrived_while_the_loop_was_held_up_is_read(run: Run, lateness: float) -> None:
    async def main() -> None:
        reader, writer, peer = await _stream()
        with peer:
            async with timeouts.timeout(SHORT):
                reading = asyncio.ensure_future(reader.readexactly(2))
                await asyncio.sleep(0)
                peer.sendall(b"ok")
                hold_up(SHORT + lateness)
                assert await reading == b"ok"
        writer.close()

    run(main())


def test_silence_expires(run: Run) -> None:
    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with timeouts.timeout(SHORT):
                await asyncio.Event().wait()
        assert time.monotonic() - began >= SHORT - 0.001  # uvloop counts in whole milliseconds

    run(main())


def test_an_answer_after_another_round_trip_is_awaited_after_a_stall(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        async with timeouts.timeout(2 * timeouts.LATE):
            loop.call_later(2 * timeouts.LATE + 0.01, loop.call_later, timeouts.LATE, answer.set_result, None)
            hold_up(4 * timeouts.LATE)
            await answer

    run(main())


def test_a_stall_extends_a_timeout_only_by_the_grace_period(run: Run) -> None:
    async def main() -> None:
        async def wait() -> None:
            async with timeouts.timeout(SHORT):
                hold_up(SHORT + 2 * timeouts.LATE)
                await asyncio.Event().wait()

        with pytest.raises(TimeoutError):
            await wait()

    run(main())


def test_without_seconds_nothing_expires(run: Run) -> None:
    async def main() -> None:
        reached = asyncio.Event()
        asyncio.get_running_loop().call_later(SHORT, reached.set)
        async with timeouts.timeout(None):
            await reached.wait()

    run(main())


def test_cancellation_from_outside_stays_a_cancellation(run: Run) -> None:
    async def main() -> None:
        async def wait() -> None:
            async with timeouts.timeout(LONG):
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_wait_returns_done_and_pending_futures(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done, endless = loop.create_future(), loop.create_future()
        done.set_result(None)
        assert await timeouts.wait([done, endless], SHORT) == ({done}, {endless})
        assert not endless.cancelled()
        first = await timeouts.wait([done, endless], LONG, return_when=asyncio.FIRST_COMPLETED)
        assert first == ({done}, {endless})
        endless.cancel()

    run(main())


def test_wait_sees_what_ended_by_data_that_arrived_while_the_loop_was_held_up(run: Run) -> None:
    async def main() -> None:
        reader, writer, peer = await _stream()
        with peer:
            reading = asyncio.ensure_future(reader.readexactly(2))
            waiting = asyncio.ensure_future(timeouts.wait([reading], SHORT))
            await asyncio.sleep(0)
            peer.sendall(b"ok")
            hold_up(SHORT + 2 * timeouts.LATE)
            assert await waiting == ({reading}, set())
        writer.close()

    run(main())


def test_cancelled_timer_calls_nothing(run: Run) -> None:
    async def main() -> None:
        called, later = asyncio.Event(), asyncio.Event()
        timeouts.Timer(0, called.set).cancel()
        timeouts.Timer(0, later.set)
        await later.wait()
        assert not called.is_set()

    run(main())


def test_an_ended_timeout_keeps_no_reference(run: Run) -> None:
    """Else a task and its result would live on until the next garbage collection."""

    async def main() -> None:
        async def within(seconds: float) -> None:
            with suppress(TimeoutError):
                async with timeouts.timeout(seconds):
                    await asyncio.sleep(0)

        for seconds in (0, LONG):
            task = asyncio.create_task(within(seconds))
            reference = weakref.ref(task)
            await task
            del task
            await asyncio.sleep(0)
            assert reference() is None

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def test_no_other_timeouts_are_used() -> None:
    """asyncio's own expire although the data is there."""
    own = re.compile(
        r"asyncio\.(timeout|timeout_at|wait_for)\(|asyncio\.wait\([^()]*(\([^()]*\)[^()]*)*\btimeout="
    )
    sources = [path for package in ("asynq", "backends") for path in (ROOT / package).rglob("*.py")]
    users = [path.relative_to(ROOT) for path in sources if own.search(path.read_text())]
    assert users == [Path("asynq/runtime/timeouts.py")]
