"""The handlers of the workers in these tests, which record their start and end.

As a command, `python app.py URL LEASE_SECONDS CONCURRENCY` is a worker with a short retry delay.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import asynq
from tests.faults.run_log import RUN_LOG

if TYPE_CHECKING:
    from asynq import Context, Task

SOON = 0.2
"""Retry delay in seconds."""

mux = asynq.ServeMux()
_log = os.open(os.environ[RUN_LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, ctx: Context) -> None:
    """Write one line atomically: task id, event, process id, time."""
    os.write(_log, f"{ctx.task_id} {what} {os.getpid()} {time.time():.3f}\n".encode())


@mux.handler("sleep")
async def sleep(ctx: Context, task: Task) -> None:
    """Wait like a well-behaved handler."""
    note("begin", ctx)
    try:
        await asyncio.sleep(float(task.payload))
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("end", ctx)


@mux.handler("linger")
async def linger(ctx: Context, task: Task) -> None:
    """Take long in the first run, and no time in later ones."""
    await sleep(ctx, asynq.Task("sleep", b"0") if ctx.retried else task)


@mux.handler("thread")
def thread(ctx: Context, task: Task) -> None:
    """A plain function that runs in a thread."""
    note("begin", ctx)
    time.sleep(float(task.payload))
    note("end", ctx)


@mux.handler("block")
async def block(ctx: Context, task: Task) -> None:
    """Block the event loop."""
    note("begin", ctx)
    time.sleep(float(task.payload))  # noqa: ASYNC251
    note("end", ctx)


@mux.handler("regex")
def regex(ctx: Context, task: Task) -> None:
    """Hold the GIL within one call into C. Each further letter doubles the time."""
    pattern = re.compile(r"(?:a+)+c")
    letters = 16
    while _seconds(pattern, letters) < 0.01:
        letters += 1
    spent = _seconds(pattern, letters)
    while spent < float(task.payload):
        letters, spent = letters + 1, spent * 2
    note("begin", ctx)
    pattern.match("a" * letters)
    note("end", ctx)


@mux.handler("power")
def power(ctx: Context, task: Task) -> None:
    """Hold the GIL in the arithmetic of one huge number."""
    bits = 1 << 16
    spent = 0.0
    while spent < 0.05:
        bits *= 2
        begun = time.thread_time()
        pow(3, bits)
        spent = time.thread_time() - begun
    while spent < float(task.payload):
        bits, spent = bits * 2, spent * 3
    note("begin", ctx)
    pow(3, bits)
    note("end", ctx)


def _seconds(pattern: re.Pattern[str], letters: int) -> float:
    # CPU time of the thread, because on a busy machine elapsed time would make a long match look longer.
    begun = time.thread_time()
    pattern.match("a" * letters)
    return time.thread_time() - begun


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(name)s: %(message)s")
    url, lease, concurrency = sys.argv[1:4]
    asynq.Server(
        url,
        concurrency=int(concurrency),
        lease=timedelta(seconds=float(lease)),
        retry_delay=lambda retried, error, task: SOON,
    ).run(mux)
