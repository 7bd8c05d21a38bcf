"""Signals that ask a process to stop: what counts as one request, and what a second request does."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Callable, Iterator
    from types import FrameType

DUPLICATE_REQUEST_WINDOW = 1.0
"""Seconds after a request to stop within which further ones are the same request.

A service manager signals all processes of a service at once, a terminal all of the foreground; wrappers and
supervisors pass on what they receive: one stop reaches a process several times."""
LOOP_REACTION_TIMEOUT = 2.0
"""Seconds an event loop has to react after the second request; then the process exits without it."""
LOG_TIMEOUT = 0.5
"""Seconds an exit waits for its last log line."""
EXIT_LOOP_BLOCKED = 1
"""Exit status of a process that did not wait for its event loop."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_requested = threading.Event()


class StopRequests:
    """Tells the first request to stop, its copies, and the requests after it."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._first: float | None = None

    @property
    def made(self) -> bool:
        """Whether there was a request."""
        return self._first is not None

    def received(self) -> Literal["first", "same", "again"]:
        """Note a request: the first one, the same one within DUPLICATE_REQUEST_WINDOW, or another one."""
        now = self._monotonic()
        if self._first is None:
            self._first = now
            return "first"
        return "same" if now - self._first < DUPLICATE_REQUEST_WINDOW else "again"


def signal_name(number: int) -> str:
    """What a signal is called: SIGTERM; "signal 40" for one that has a number alone."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def end_by_sigterm() -> None:
    """From now on SIGTERM ends this process at once, also where it is process 1 of a container.

    The kernel gives process 1 no default action for SIGTERM. The process ends by the signal itself, or with
    status 143 as process 1, which cannot. To be in force only while nothing is in hand.
    """
    signal.signal(signal.SIGTERM, _end)


def ask_to_stop() -> None:
    """Send this process SIGTERM unless it was asked to stop before: this is never a second request."""
    if not _requested.is_set():
        os.kill(os.getpid(), signal.SIGTERM)


def hold_back(*numbers: signal.Signals) -> None:
    """Keep these signals back, for this thread and the processes it starts, until `let_through`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def let_through(*numbers: signal.Signals) -> None:
    """Receive these signals again, and those that came meanwhile."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextmanager
def held_back(*numbers: signal.Signals) -> Iterator[None]:
    """Processes started in this context receive these signals only once they call `let_through`.

    A process that has not yet set its handlers would lose them, or be ended by them.
    """
    hold_back(*numbers)
    try:
        yield
    finally:
        let_through(*numbers)


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop,
    *,
    stop: Callable[[], None],
    again: Callable[[], None],
    quiet: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Handle stop signals until the end of the context. Callbacks are called on the event loop.

    The first SIGTERM or SIGINT calls `stop`. Each one that arrives at least DUPLICATE_REQUEST_WINDOW seconds
    later calls `again`. If the event loop is blocked then, the process exits with status EXIT_LOOP_BLOCKED
    after LOOP_REACTION_TIMEOUT seconds. SIGTSTP calls `quiet`. At the end of the context, the old handlers
    are restored, but duplicates of a handled request are ignored.
    """
    handling = _Handling(loop, stop, again, quiet)
    numbers = (*STOP_SIGNALS, signal.SIGTSTP) if quiet else STOP_SIGNALS
    previous: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            previous[number] = signal.getsignal(number)
            signal.signal(number, handling.received)
        if quiet:
            let_through(signal.SIGTSTP)
    except ValueError:
        previous.clear()
        _log().warning("signals are not handled: run() was not called from the main thread")
    try:
        yield
    finally:
        handling.ended.set()
        for number, before in previous.items():
            signal.signal(number, handling.afterwards(before))


class _Handling:
    """What signals do while an event loop runs. `received` runs on the main thread, the loop's own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop: Callable[[], None],
        again: Callable[[], None],
        quiet: Callable[[], None] | None,
    ) -> None:
        self._loop = loop
        self._stop = stop
        self._again = again
        self._quiet = quiet
        self._requests = StopRequests()
        self._watched = False
        self.ended = threading.Event()

    def received(self, number: int, _: FrameType | None) -> None:
        """Handle a signal. Not on the loop yet: the loop may be blocked."""
        if number == signal.SIGTSTP:
            self._call(self._quiet)
            return
        _requested.set()
        match self._requests.received():
            case "first":
                self._call(self._stop)
            case "again":
                self._call(self._again)
                if not self._watched:
                    self._watched = True
                    threading.Thread(target=self._exit_if_blocked, name="asynq-stop", daemon=True).start()

    def afterwards(self, before: Any) -> Any:
        """The handler of a signal once this is over."""
        if before is None:  # it was not set by Python, which cannot restore it
            before = signal.SIG_DFL
        if not self._requests.made:
            return before

        def late(number: int, _: FrameType | None) -> None:
            if self._requests.received() != "same":
                signal.signal(number, before)
                signal.raise_signal(number)

        return late

    def _call(self, callback: Callable[[], None] | None) -> None:
        if callback is not None:
            with suppress(RuntimeError):  # the loop is closed: everything has ended
                self._loop.call_soon_threadsafe(callback)

    def _exit_if_blocked(self) -> None:
        while not self.ended.is_set():
            reacted = threading.Event()
            self._call(reacted.set)
            if not reacted.wait(LOOP_REACTION_TIMEOUT) and not self.ended.is_set():
                # Whoever blocks the loop may also hold a lock of a log handler.
                saying = threading.Thread(target=_say_blocked, daemon=True)
                saying.start()
                saying.join(LOG_TIMEOUT)
                os._exit(EXIT_LOOP_BLOCKED)
            self.ended.wait(LOOP_REACTION_TIMEOUT / 10)


def _log() -> logging.Logger:
    # Imported late: this module is the first that a starting worker loads, to handle signals soon.
    from asynq.runtime.logs import get_logger

    return get_logger("asynq.server")


def _say_blocked() -> None:
    _log().error(
        "a handler blocks the event loop: the process exits without it; its tasks run again once their leases"
        " have lapsed"
    )


def _end(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
