"""Detects worker processes whose event loop is blocked: they stop sending heartbeats to the supervisor."""

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
"""Environment variable of a worker process: the file descriptor for heartbeats, and their interval."""
BEATS_PER_TIMEOUT = 4
"""Heartbeats within the stall timeout."""


class StallWatch(SupervisorPipe):
    """Watches the heartbeats of one worker process, on the supervisor's event loop.

    The worker sends no heartbeats while its event loop is blocked, while a call into C holds its interpreter
    lock, and while it is stopped. It is watched from its first heartbeat on.

    Args:
        timeout: seconds without a heartbeat after which the worker counts as stalled.
    """

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        self._heard_at: float | None = None

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the worker process."""
        return {_FD: f"{self.fd}:{self._timeout / BEATS_PER_TIMEOUT}"}

    async def until_stalled(self) -> None:
        """Wait until the worker has sent no heartbeat for longer than the timeout."""
        loop = asyncio.get_running_loop()
        interval = self._timeout / BEATS_PER_TIMEOUT
        while True:
            due = loop.time() + interval
            await asyncio.sleep(interval)
            if self.received():
                self._heard_at = loop.time()
            elif self._heard_at is not None:
                # While this process is suspended, such as on a paused machine, the worker may be too.
                self._heard_at += loop.time() - due
            if self._heard_at is not None and loop.time() - self._heard_at > self._timeout:
                return


def start_supervisor_heartbeat(lag: Callable[[], timedelta]) -> None:
    """In a worker process: send heartbeats to the supervisor while `lag` is short, if it expects them."""
    value = os.environ.pop(_FD, None)
    if value is None:
        return
    number, _, seconds = value.partition(":")
    fd, interval, rest = int(number), float(seconds), threading.Event()

    def beat() -> None:
        with suppress(OSError):  # the supervisor is gone
            while True:
                if lag().total_seconds() < interval:
                    os.write(fd, b".")
                rest.wait(interval)

    threading.Thread(target=beat, name="asynq-supervisor-beat", daemon=True).start()
