"""What counts as one stop request."""

from __future__ import annotations

import asyncio
import signal

from asynq.runtime.stop_signals import DUPLICATE_REQUEST_WINDOW, StopRequests, stop_signals


def test_requests_shortly_after_the_first_count_as_one() -> None:
    times = [100.0 + DUPLICATE_REQUEST_WINDOW * share for share in (0, 0, 0.9, 1, 1.5)]
    requests = StopRequests(iter(times).__next__)
    assert not requests.made
    assert [requests.received() for _ in times] == ["first", "same", "same", "again", "again"]
    assert requests.made


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
