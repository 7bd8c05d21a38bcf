"""A worker in a process of its own: python app.py URL LEASE SHUTDOWN DUPLICATE_REQUEST_WINDOW LOG.

The three in the middle are seconds. Handlers note their runs in the file LOG; those that wait end once there
is a file LOG.released.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import sys
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from asynq.handlers.mux import ServeMux
from asynq.runtime import stop_signals
from asynq.server import Server
from asynq_redis import RedisBroker
from asynq_sqlite import SQLiteBroker
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context

URL, LEASE, SHUTDOWN, DUPLICATE_REQUEST_WINDOW, LOG = sys.argv[1:6]
RELEASED = Path(LOG).with_suffix(".released")
HOUR = 3600.0
mux = ServeMux()


def note(what: str) -> None:
    """One line, whole even when several processes write."""
    log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{what} {os.getpid()}\n".encode())
    os.close(log)


@mux.handler("block")
async def block(ctx: Context, task: Task) -> None:
    """Holds the event loop, as no handler should."""
    note("begin")
    eventually(RELEASED.exists, HOUR)
    note("end")


@mux.handler("hog")
def hog(ctx: Context, task: Task) -> None:
    """Holds the GIL within one call into C, for so many seconds however busy the machine is."""
    note("begin")
    ctypes.PyDLL(None).usleep(int(float(task.payload) * 1e6))
    note("end")


@mux.handler("wait")
async def wait(ctx: Context, task: Task) -> None:
    """Waits as handlers should."""
    note("begin")
    await aeventually(RELEASED.exists, HOUR)
    note("end")


@mux.handler("deaf")
def deaf(ctx: Context, task: Task) -> None:
    """Waits in a thread, and does not ask whether to end."""
    note("begin")
    eventually(RELEASED.exists, HOUR)
    note("end")


@mux.handler("apart")
async def apart(ctx: Context, task: Task) -> None:
    """Takes all the threads the event loop has, which nothing ends."""
    waits = [asyncio.to_thread(threading.Event().wait) for _ in range(64)]
    note("begin")
    await asyncio.gather(*waits)
    note("end")


@mux.handler("endless")
async def endless(ctx: Context, task: Task) -> None:
    """Takes every cancellation for a reason to go on."""
    note("begin")
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


class KeeperReady(logging.Handler):
    """Leaves a file when the lease keeper process is ready."""

    def emit(self, record: logging.LogRecord) -> None:
        if "is ready" in record.getMessage():
            Path(LOG + ".ready").touch()


if __name__ == "__main__":
    stop_signals.DUPLICATE_REQUEST_WINDOW = float(DUPLICATE_REQUEST_WINDOW)
    leases = logging.getLogger("asynq.leases")
    leases.setLevel(logging.INFO)
    leases.addHandler(KeeperReady())
    path = URL.removeprefix("sqlite:///")
    server = Server(
        RedisBroker(URL) if path == URL else SQLiteBroker(path),
        concurrency=4,
        lease=timedelta(seconds=float(LEASE)),
        shutdown_timeout=timedelta(seconds=float(SHUTDOWN)),
    )
    server.run(mux)
    note("closed")
