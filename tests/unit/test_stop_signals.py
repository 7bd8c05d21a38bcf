"""What counts as one stop request."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

from asynq.runtime.stop_signals import DUPLICATE_REQUEST_WINDOW, StopRequests, stop_signals


def test_requests_shortly_after_the_first_count_as_one() -> None:
    times = [100.0 + DUPLICATE_REQUEST_WINDOW * share for share in (0, 0, 0.9, 1, 1.5)]
    requests = StopRequests(iter(times).__next__)
    assert not requests.made
    assert [requests.received() for _ in times] == ["first", "same", "same", "again", "again"]
    assert requests.made


INTERRUPTING = """
import asyncio, signal, sys, threading
from asynq.runtime.stop_signals import stop_signals

FILES = (sys.modules["asynq.runtime.stop_signals"].__file__, threading.__file__)


def interrupt_at(line):
    left = [line]

    def trace(frame, event, _):
        if frame.f_code.co_filename not in FILES:
            return None
        left[0] -= event == "line"
        if left[0] == 0:
            left[0] = -sys.maxsize
            signal.raise_signal(signal.SIGINT)
        return trace

    sys.settrace(trace)
    signal.raise_signal(signal.SIGTERM)
    sys.settrace(None)
    return left[0] < 0


loop, line, interrupted = asyncio.new_event_loop(), 0, True
while interrupted:
    line += 1
    with stop_signals(loop, stop=int, force=int):
        interrupted = interrupt_at(line)
loop.close()
print("ended", line)
"""


def test_a_signal_may_interrupt_the_handler_of_another_at_any_line() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", INTERRUPTING], capture_output=True, text=True, timeout=60, check=True
    )
    ended, lines = ran.stdout.split()
    assert (ended, int(lines) > 5) == ("ended", True)


async def test_signal_handlers_are_restored_without_a_signal() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP)]
    ignored = lambda: None  # noqa: E731
    with stop_signals(asyncio.get_running_loop(), stop=ignored, force=ignored, sigtstp=ignored):
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTSTP)] == before


async def test_a_duplicate_of_a_handled_request_is_ignored() -> None:
    stopped, again = asyncio.Event(), asyncio.Event()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with stop_signals(asyncio.get_running_loop(), stop=stopped.set, force=again.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(stopped.wait(), 10)
        # Its default action would end this process.
        signal.raise_signal(signal.SIGTERM)
        assert not again.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
