"""Recycling: ends a server that has started many runs, or whose process has grown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.runtime.process_limits import ProcessLimits

log = get_logger("asynq.worker")

CHECK_INTERVAL = 0.5
"""Seconds between two checks."""


class Recycling:
    """Checks the limits at each step, and calls `finish` once one is reached.

    Args:
        limits: the limits of this server.
        runs: returns how many runs this server has started.
        finish: called when a limit is reached.
    """

    def __init__(self, *, limits: ProcessLimits, runs: Callable[[], int], finish: Callable[[], None]) -> None:
        self._limits = limits
        self._runs = runs
        self._finish = finish
        self._finished = False

    async def step(self) -> float:
        """Check once. Returns the seconds until the next check."""
        reason = "" if self._finished else self._limits.reached(self._runs())
        if reason:
            self._finished = True
            log.info("this worker takes no new tasks, and ends when its tasks have: %s", reason)
            self._finish()
        return CHECK_INTERVAL
