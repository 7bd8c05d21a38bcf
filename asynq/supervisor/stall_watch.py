"""Worker processes whose event loop is blocked for too long: told to their supervisor by their silence."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.supervisor.pipes import SupervisorPipe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

_FD = "ASYNQ_SUPERVISOR_STALLS"
"""Environment variable of a worker process: where to write signs of life, and how many seconds apart."""
BEATS_PER_TIMEOUT = 4
"""Signs of life within the time after which a worker counts as stalled."""


class StallWatch(SupervisorPipe):
    """Hears one worker process, from a supervisor's event loop.

    The process is silent while its event loop is blocked, while a call into C holds its interpreter lock, and
    while it is stopped. It is heard from its first sign of life on.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        self._heard_at: float | None = None

    def environment(self) -> Mapping[str, str]:
        """What the process is to have in its environment."""
        return {_FD: f"{self.fd}:{self._timeout / BEATS_PER_TIMEOUT}"}

    async def until_stalled(self) -> None:
        """Wait until the process has been silent for longer than the timeout."""
        loop = asyncio.get_running_loop()
        interval = self._timeout / BEATS_PER_TIMEOUT
        while True:
            due = loop.time() + interval
            await asyncio.sleep(interval)
            if self.heard():
                self._heard_at = loop.time()
            elif self._heard_at is not None:
                # While this process is held up, such as on a paused machine, the other one may be too.
                self._heard_at += loop.time() - due
            if self._heard_at is not None and loop.time() - self._heard_at > self._timeout:
                return


def start_supervisor_heartbeat(lag: Callable[[], timedelta]) -> None:
    """In a worker process: send signs of life to the supervisor, if it wants any, while `lag` is short."""
    told = os.environ.pop(_FD, None)
    if told is None:
        return
    number, _, seconds = told.partition(":")
    fd, interval, rest = int(number), float(seconds), threading.Event()

    def beat() -> None:
        with suppress(OSError):  # the supervisor is gone
            while True:
                if lag().total_seconds() < interval:
                    os.write(fd, b".")
                rest.wait(interval)

    threading.Thread(target=beat, name="asynq-supervisor-beat", daemon=True).start()
