"""Detects a blocked event loop: measures its lag and logs what blocks it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asynq.runtime import thread_calls
from asynq.runtime.blocking_run import run_to_end
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

log = get_logger("asynq.loop")

MAX_PROBE_INTERVAL = 0.5
"""Maximum seconds between two probes of a responsive loop."""
PROBES_PER_WARNING = 4
"""Probes within the `warning` time of a monitor."""
MAX_THREAD_STACKS = 4
"""Maximum number of handler threads whose stacks are logged."""
HANDLER_THREAD_PREFIX = "asynq-handler"


class Blocked(Exception):  # noqa: N818 - never raised: it carries the stack of a thread to the log
    """The stack of a thread while the event loop was blocked."""


class LoopMonitor:
    """Watches an event loop from a separate thread.

    A stall is logged when it has lasted `warning` seconds, with the running task and the stack of the loop's
    thread, and again when it is over. A call into C that holds the interpreter lock also blocks the monitor:
    that stall is logged when the lock is released, with the stacks at that time.

    Args:
        warning: seconds after which a stall is logged. None: never.
        describe: returns a description of the task that the loop is running, or of None if it runs no task.
            It is called on the monitor's thread.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        *,
        warning: float | None,
        describe: Callable[[asyncio.Task[Any] | None], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._warning = warning
        self._describe = describe
        self._monotonic = monotonic
        self._interval = (
            MAX_PROBE_INTERVAL if warning is None else min(warning / PROBES_PER_WARNING, MAX_PROBE_INTERVAL)
        )
        self._closed = threading.Event()
        self._since = 0.0
        """When the current lag started. In the future while the loop is responsive."""
        self._loop: asyncio.AbstractEventLoop
        self._loop_thread = 0

    @property
    def lag(self) -> float:
        """The lag of the event loop in seconds. From any thread. 0.0 while the loop is not watched."""
        if not self._since or self._closed.is_set():
            return 0.0
        return max(self._monotonic() - self._since, 0.0)

    def start(self) -> None:
        """Start to watch the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._since = self._monotonic()
        threading.Thread(target=self._run, name="asynq-loop-monitor", daemon=True).start()

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()

    def _run(self) -> None:
        while self._probe():
            self._since = self._monotonic() + self._interval
            self._closed.wait(self._interval)

    def _probe(self) -> bool:
        """Wait until the loop has responded. Returns False when the loop or the monitor has ended."""
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
            log.warning("the event loop is responsive again: it was blocked for %.1f s", self.lag)
        return not self._closed.is_set()

    def _report_if_late(self, due: float) -> bool:
        """Log a stall if there is one, and return whether it was logged. `due`: when this was due to run."""
        lag = self.lag
        if self._warning is None or lag < self._warning:
            return False
        frames = sys._current_frames()  # noqa: SLF001 - documented, for this purpose
        task = asyncio.current_task(self._loop)
        since = datetime.fromtimestamp(time.time() - lag, UTC).isoformat(timespec="milliseconds")
        log.warning(
            "the event loop has been blocked for %.1f s, since %s: async handlers, settling and shutdown"
            " have to wait. It is running %s. Move blocking code to a `def` handler or to asyncio.to_thread",
            lag,
            since,
            self._description(task),
            exc_info=_stack("the event loop's thread is here", frames.get(self._loop_thread)),
        )
        if self._monotonic() - due >= self._warning:
            log.warning("the interpreter lock was held, or the process was stopped or short of CPU time")
            _log_handler_threads(frames)
        return True

    def _description(self, task: asyncio.Task[Any] | None) -> str:
        try:
            return self._describe(task)
        except Exception:
            # It reads data of the loop, which may have continued in the meantime.
            log.debug("cannot determine what blocks the event loop", exc_info=True)
            return "an unknown coroutine"


def _log_handler_threads(frames: Mapping[int, FrameType]) -> None:
    """Log the stacks of sync handlers: one of them may have held the interpreter lock."""
    busy = [
        (thread.name, frame)
        for thread in threading.enumerate()
        if thread.name.startswith(HANDLER_THREAD_PREFIX)
        and (frame := frames.get(thread.ident or 0))
        and frame.f_globals.get("__name__") != thread_calls.__name__  # idle
    ]
    for name, frame in busy[:MAX_THREAD_STACKS]:
        log.warning("a sync handler is running in a thread", exc_info=_stack(f"thread {name} is here", frame))


def _stack(what: str, frame: FrameType | None) -> Blocked:
    """An error whose traceback is the stack of a running frame, without the frames of the event loop."""
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
