"""The workers of the chaos run, with handlers that misbehave.

`python chaos_worker.py serve URL` is one worker, `python chaos_worker.py supervise URL PROCESSES` supervises
several. Each kind of task misbehaves in its first run and succeeds when it is retried, unless KINDS says
otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import asynq
from asynq.supervisor.supervisor import Supervisor, stop_with_supervisor, supervise
from tests.faults.app import SOON, note
from tests.faults.chaos import CHILD_SUFFIX

if TYPE_CHECKING:
    from asynq import Context, Task

LEASE = timedelta(seconds=2)
SHUTDOWN_TIMEOUT = timedelta(seconds=3)
CONCURRENCY = 8
PIECE = 0.02
"""Duration of ordinary work in seconds."""
BLOCKED = 1.0
"""Seconds for which a handler blocks its event loop."""
FORGED = "forged line\n2026-01-01 ERROR root: \x1b[31mforged"
"""Text that would forge a log line and colour a terminal if it were printed unchanged."""

mux = asynq.ServeMux()
client = asynq.AsyncClient(sys.argv[2]) if __name__ == "__main__" else None


def first(ctx: Context) -> bool:
    """Record the start of a run. Returns True for the first run of the task."""
    note("begin", ctx)
    return ctx.retried == 0


async def work(ctx: Context) -> None:
    await asyncio.sleep(PIECE)
    note("end", ctx)


@mux.handler("sleep")
async def sleep(ctx: Context, task: Task) -> None:
    first(ctx)
    await work(ctx)


@mux.handler("fail")
async def fail(ctx: Context, task: Task) -> None:
    if first(ctx):
        raise ValueError(FORGED)
    await work(ctx)


@mux.handler("long-error")
async def long_error(ctx: Context, task: Task) -> None:
    if first(ctx):
        raise ValueError("x" * 5_000_000)
    await work(ctx)


@mux.handler("exit-in-child")
async def exit_in_child(ctx: Context, task: Task) -> None:
    async def leave() -> None:
        sys.exit(2)

    if first(ctx):
        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
    await work(ctx)


@mux.handler("interrupt-in-child")
async def interrupt_in_child(ctx: Context, task: Task) -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    if first(ctx):
        await asyncio.gather(interrupt())
    await work(ctx)


@mux.handler("argparse")
def parse(ctx: Context, task: Task) -> None:
    if first(ctx):
        argparse.ArgumentParser(prog="handler").parse_args(["--unknown"])
    note("end", ctx)


@mux.handler("fork")
def fork(ctx: Context, task: Task) -> None:
    first(ctx)
    child = multiprocessing.get_context("fork").Process(target=threading.Event().wait, args=(60,))
    child.start()
    child.terminate()
    child.join(20)
    if child.exitcode != -signal.SIGTERM:
        child.kill()
        raise RuntimeError(f"the child did not end when it was terminated: {child.exitcode}")
    note("end", ctx)


@mux.handler("pool")
def pool(ctx: Context, task: Task) -> None:
    first(ctx)
    with multiprocessing.get_context("fork").Pool(1) as processes:
        processes.map(abs, [-1])
    note("end", ctx)


@mux.handler("enqueue")
def enqueue(ctx: Context, task: Task) -> None:
    """Enqueue from a separate event loop, like code that was not written for workers."""
    first(ctx)
    assert client
    child = asynq.Task("sleep", task_id=ctx.task_id + CHILD_SUFFIX, max_retry=ctx.max_retry)
    with suppress(asynq.TaskIDConflictError):  # an earlier run of this task has enqueued it
        asyncio.run(client.enqueue(child))
    note("end", ctx)


@mux.handler("block")
async def block(ctx: Context, task: Task) -> None:
    first(ctx)
    time.sleep(BLOCKED)  # noqa: ASYNC251
    note("end", ctx)


@mux.handler("crash")
async def crash(ctx: Context, task: Task) -> None:
    if first(ctx):
        os.kill(os.getpid(), signal.SIGKILL)
    await work(ctx)


@mux.handler("reject")
async def reject(ctx: Context, task: Task) -> None:
    first(ctx)
    raise asynq.SkipRetry(FORGED)


def serve(url: str) -> None:
    stop_with_supervisor()
    asynq.Server(
        url,
        concurrency=CONCURRENCY,
        lease=LEASE,
        shutdown_timeout=SHUTDOWN_TIMEOUT,
        retry_delay=lambda retried, error, task: SOON,
    ).run(mux)


def keep(url: str, processes: int) -> int:
    supervisor = Supervisor(
        [sys.executable, __file__, "serve", url],
        processes,
        env=os.environ,
        stop_timeout=(SHUTDOWN_TIMEOUT + timedelta(seconds=15)).total_seconds(),
        rng=random.Random(),
        first_pause=0.1,
    )
    return asyncio.run(supervise(supervisor))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(process)d %(levelname)s %(name)s: %(message)s")
    if sys.argv[1] == "supervise":
        sys.exit(keep(sys.argv[2], int(sys.argv[3])))
    serve(sys.argv[2])
