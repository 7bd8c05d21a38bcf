"""Recycling: ends a server that has run many tasks, or whose process has grown."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("asynq.worker")

CHECK_INTERVAL = 0.5
"""Seconds between two checks."""


class Recycling:
    """Checks the limits at each step, and calls `finish` once one is reached.

    Args:
        max_tasks: runs that this server starts at most. None: any number.
        max_memory: bytes of memory of this process. None: any.
        left: returns the number of runs that may still start.
        finish: called when a limit is reached.
    """

    def __init__(
        self,
        *,
        max_tasks: int | None,
        max_memory: int | None,
        left: Callable[[], int],
        finish: Callable[[], None],
    ) -> None:
        self._max_tasks = max_tasks
        self._max_memory = max_memory
        self._left = left
        self._finish = finish
        self._finished = False

    async def step(self) -> float:
        """Check once. Returns the seconds until the next check."""
        reason = "" if self._finished else self._reason()
        if reason:
            self._finished = True
            log.info("this worker ends: %s", reason)
            self._finish()
        return CHECK_INTERVAL

    def _reason(self) -> str:
        if self._max_tasks is not None and self._left() <= 0:
            return f"it has run {self._max_tasks} tasks, as many as it may"
        if self._max_memory is not None and (used := process_memory()) >= self._max_memory:
            return f"its process uses {used / 1e6:.0f} MB, the limit is {self._max_memory / 1e6:.0f} MB"
        return ""


def process_memory() -> int:
    """Bytes of memory of this process. Where this is not known, the most that it has ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()
