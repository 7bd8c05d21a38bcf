"""SIGTERM, SIGINT and SIGTSTP: graceful shutdown at the first signal, forced shutdown at a second one.

Repeated signals within DUPLICATE_REQUEST_WINDOW count as one request. A process whose event loop is blocked
exits after the second request.
"""

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
"""Seconds after the first stop signal in which further ones count as the same request.

A service manager signals all processes of a service, a terminal signals the whole foreground group, and
wrappers and supervisors pass signals on. So one request can reach a process several times."""
LOOP_REACTION_TIMEOUT = 2.0
"""Seconds within which the event loop must react to the second request. After that, the process exits."""
LOG_TIMEOUT = 0.5
"""Seconds the exit waits for the last log line to be written."""
EXIT_LOOP_BLOCKED = 1
"""Exit status of a process whose event loop did not react."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _Process:
    """What signal handlers have noted about this process.

    A signal can interrupt the handler of another signal. So nothing here has a lock, as an Event has: the
    interrupted handler would hold it forever.
    """

    asked_to_stop = False


class StopRequests:
    """Distinguishes the first request to stop, its duplicates, and later requests."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._first: float | None = None

    @property
    def made(self) -> bool:
        """Whether there was a request."""
        return self._first is not None

    def received(self) -> Literal["first", "same", "again"]:
        """Register a request.

        Returns:
            "first", "same" for a duplicate within DUPLICATE_REQUEST_WINDOW, or "again" for a later request.
        """
        now = self._monotonic()
        if self._first is None:
            self._first = now
            return "first"
        return "same" if now - self._first < DUPLICATE_REQUEST_WINDOW else "again"


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGTERM; "signal 40" for a signal without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def end_by_sigterm() -> None:
    """Make SIGTERM end this process at once, also if it is process 1 of a container.

    The kernel has no default action for SIGTERM in process 1. The process ends by the signal itself, or as
    process 1 with status 143. Use this only while the process has no work in progress.
    """
    signal.signal(signal.SIGTERM, _terminate)


def ask_to_stop() -> None:
    """Send SIGTERM to this process unless it was asked to stop before. Never counts as a second request."""
    if not _Process.asked_to_stop:
        os.kill(os.getpid(), signal.SIGTERM)


def block_signals(*numbers: signal.Signals) -> None:
    """Block these signals in this thread and in the processes that it starts, until `unblock_signals`."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock_signals(*numbers: signal.Signals) -> None:
    """Unblock these signals. Signals that arrived while they were blocked are delivered now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


@contextmanager
def signals_blocked(*numbers: signal.Signals) -> Iterator[None]:
    """Start processes in this context with these signals blocked, until they call `unblock_signals`.

    A process that has not set its signal handlers yet would otherwise lose the signals or end.
    """
    block_signals(*numbers)
    try:
        yield
    finally:
        unblock_signals(*numbers)


@contextmanager
def stop_signals(
    loop: asyncio.AbstractEventLoop,
    *,
    stop: Callable[[], None],
    force: Callable[[], None],
    sigtstp: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Handle stop signals until the end of the context. The callbacks are called on the event loop.

    The first SIGTERM or SIGINT calls `stop`. Each one that arrives at least DUPLICATE_REQUEST_WINDOW seconds
    later calls `force`. If the event loop is blocked then, the process exits with status EXIT_LOOP_BLOCKED
    after LOOP_REACTION_TIMEOUT seconds. SIGTSTP calls `sigtstp`. At the end of the context, the old handlers
    are restored, but duplicates of a handled request are ignored.
    """
    handling = _Handling(loop, stop, force, sigtstp)
    numbers = (*STOP_SIGNALS, signal.SIGTSTP) if sigtstp else STOP_SIGNALS
    previous: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:
            previous[number] = signal.getsignal(number)
            signal.signal(number, handling.received)
        if sigtstp:
            unblock_signals(signal.SIGTSTP)
    except ValueError:
        previous.clear()
        _log().warning("signals are not handled: run() was not called from the main thread")
    try:
        yield
    finally:
        handling.ended.set()
        for number, before in previous.items():
            signal.signal(number, handling.handler_after(before))


class _Handling:
    """The signal handlers while an event loop runs. `received` runs on the main thread, as the loop does."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop: Callable[[], None],
        force: Callable[[], None],
        sigtstp: Callable[[], None] | None,
    ) -> None:
        self._loop = loop
        self._stop = stop
        self._force = force
        self._sigtstp = sigtstp
        self._requests = StopRequests()
        self._watching = False
        self.ended = threading.Event()

    def received(self, number: int, _: FrameType | None) -> None:
        """Handle a signal. This does not run on the event loop, which may be blocked."""
        if number == signal.SIGTSTP:
            self._call(self._sigtstp)
            return
        _Process.asked_to_stop = True
        match self._requests.received():
            case "first":
                self._call(self._stop)
            case "again":
                self._call(self._force)
                if not self._watching:
                    self._watching = True
                    threading.Thread(target=self._exit_if_blocked, name="asynq-stop", daemon=True).start()

    def handler_after(self, before: Any) -> Any:
        """The handler of a signal after the context. `before` is the one before the context."""
        if before is None:  # not set by Python, so Python cannot restore it
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
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(callback)

    def _exit_if_blocked(self) -> None:
        while not self.ended.is_set():
            reacted = threading.Event()
            self._call(reacted.set)
            if not reacted.wait(LOOP_REACTION_TIMEOUT) and not self.ended.is_set():
                # The code that blocks the loop may also hold the lock of a log handler.
                logging_thread = threading.Thread(target=_log_blocked, daemon=True)
                logging_thread.start()
                logging_thread.join(LOG_TIMEOUT)
                os._exit(EXIT_LOOP_BLOCKED)
            self.ended.wait(LOOP_REACTION_TIMEOUT / 10)


def _log() -> logging.Logger:
    # Imported late: a starting worker loads this module first, so that it can handle signals early.
    from asynq.runtime.logs import get_logger

    return get_logger("asynq.server")


def _log_blocked() -> None:
    _log().error(
        "a handler blocks the event loop, so the process exits; its tasks run again when their leases expire"
    )


def _terminate(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
