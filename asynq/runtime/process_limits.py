"""`ProcessLimits`: after how many tasks, and at which size, a process is replaced by another one."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from attrs import frozen

from asynq.runtime.short_texts import plural


@frozen(kw_only=True)
class ProcessLimits:
    """Limits of a process that runs tasks. None: no limit."""

    max_tasks: int | None = None
    max_memory: int | None = None
    """Bytes."""

    def reached(self, runs: int) -> str:
        """Which limit this process has reached after so many runs, in words; "" if none."""
        if self.max_tasks is not None and runs >= self.max_tasks:
            return f"it has run {plural(self.max_tasks, 'task')}, as many as it may"
        if self.max_memory is not None and (used := process_memory()) >= self.max_memory:
            return f"its process uses {used / 1e6:.0f} MB, the limit is {self.max_memory / 1e6:.0f} MB"
        return ""


NO_LIMITS = ProcessLimits()


def process_memory() -> int:
    """Bytes of memory of this process. Where this is not known, the most that it has ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()
