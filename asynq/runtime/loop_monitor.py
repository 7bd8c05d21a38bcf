"""Whether an event loop runs: how far it is behind, and what blocks it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asynq.runtime import threads
from asynq.runtime.blocking_run import run_to_end
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

log = get_logger("asynq.loop")

MAX_PROBE_INTERVAL = 0.5
"""Most seconds between two probes of a loop that runs."""
PROBES_PER_WARNING = 4
"""Probes within the time after which a stall is logged."""
MAX_THREAD_STACKS = 4
"""Most threads whose stacks are logged when the loop itself waits."""
HANDLER_THREAD_PREFIX = "asynq-handler"


class Blocked(Exception):  # noqa: N818 - never raised: it carries the stack of a thread to a log
    """Where a thread was when the event loop was blocked."""


class LoopMonitor:
    """Watches an event loop from a thread of its own.

    A stall is logged once it lasts `warning` seconds, with the culprit and the stack of the loop's thread,
    and again when it is over. A call into C that holds the interpreter lock holds up the monitor as well:
    that stall is logged when the lock is released, with the stacks of that moment.
    """

    def __init__(
        self,
        *,
        warning: float | None,
        culprit: Callable[[asyncio.Task[Any] | None], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """warning: None to log nothing. culprit: from the task the loop carries out, in words what it is.

        `culprit` is called on the monitor's thread.
        """
        self._warning = warning
        self._culprit = culprit
        self._monotonic = monotonic
        self._interval = (
            MAX_PROBE_INTERVAL if warning is None else min(warning / PROBES_PER_WARNING, MAX_PROBE_INTERVAL)
        )
        self._closed = threading.Event()
        self._since = 0.0
        """From when on the loop is behind; in the future while it is not."""
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0

    @property
    def lag(self) -> float:
        """Seconds by which the event loop is behind; from any thread. 0.0 while it is not watched."""
        if not self._since or self._closed.is_set():
            return 0.0
        return max(self._monotonic() - self._since, 0.0)

    def start(self) -> None:
        """Watch the running event loop, from its own thread."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._since = self._monotonic()
        threading.Thread(target=self._run, name="asynq-loop-monitor", daemon=True).start()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _run(self) -> None:
        while self._probe():
            self._since = self._monotonic() + self._interval
            self._closed.wait(self._interval)

    def _probe(self) -> bool:
        """Wait until the loop has answered; False when there is nothing left to watch."""
        answered = threading.Event()
        due = self._since
        reported = self._report_if_late(due)
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:  # it is closed
            return False
        due = self._monotonic() + self._interval
        while not answered.wait(self._interval):
            if self._closed.is_set() or not self._loop.is_running():
                return False
            reported = reported or self._report_if_late(due)
            due = self._monotonic() + self._interval
        if reported:
            log.warning("the event loop runs again: it was blocked for %.1f s", self.lag)
        return not self._closed.is_set()

    def _report_if_late(self, due: float) -> bool:
        """Whether a stall is reported now. `due` is when this thread was to run."""
        lag = self.lag
        if self._warning is None or lag < self._warning:
            return False
        frames = sys._current_frames()  # noqa: SLF001 - documented, for this purpose
        task = asyncio.current_task(self._loop)
        since = datetime.fromtimestamp(time.time() - lag, UTC).isoformat(timespec="milliseconds")
        log.warning(
            "the event loop has been blocked for %.1f s, since %s: async handlers, settling and shutdown"
            " wait. It runs %s. Put blocking code into a plain `def` handler or asyncio.to_thread",
            lag,
            since,
            self._named(task),
            exc_info=_stack("the event loop's thread is here", frames.get(self._loop_thread)),
        )
        if self._monotonic() - due >= self._warning:
            log.warning(
                "the interpreter lock was held, or the process was stopped or short of processor time"
            )
            _log_handler_threads(frames)
        return True

    def _named(self, task: asyncio.Task[Any] | None) -> str:
        try:
            return self._culprit(task)
        except Exception:
            # What it looks at belongs to the loop, which may have gone on in this very moment.
            log.debug("what blocks the event loop cannot be told", exc_info=True)
            return "a coroutine that is not known"


def _log_handler_threads(frames: Mapping[int, FrameType]) -> None:
    """Show where plain handlers are: one of them may have held the interpreter lock."""
    busy = [
        (thread.name, frame)
        for thread in threading.enumerate()
        if thread.name.startswith(HANDLER_THREAD_PREFIX)
        and (frame := frames.get(thread.ident or 0))
        and frame.f_globals.get("__name__") != threads.__name__  # it waits for work
    ]
    for name, frame in busy[:MAX_THREAD_STACKS]:
        log.warning("a plain handler runs in a thread", exc_info=_stack(f"thread {name} is here", frame))


def _stack(what: str, frame: FrameType | None) -> Blocked:
    """An error whose traceback is the stack of a running frame, without the event loop it runs in."""
    trace: TracebackType | None = None
    inside = True
    while frame is not None:
        of_loop = frame.f_globals.get("__name__", "").partition(".")[0] in ("asyncio", "uvloop")
        if trace is not None and ((of_loop and not inside) or frame.f_code is run_to_end.__code__):
            break
        inside = inside and of_loop
        trace = TracebackType(trace, frame, frame.f_lasti, frame.f_lineno)
        frame = frame.f_back
    return Blocked(what).with_traceback(trace)
