"""The handlers of the measured worker: `asynq worker asynq.bench.app:mux`."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count
from typing import TYPE_CHECKING

import asynq
from asynq.bench.drivers.harness import Meter
from asynq.bench.names import HOLD, NOOP, THIRD, THREAD, TIME, WAIT

if TYPE_CHECKING:
    from asynq import Context, Task

mux = asynq.ServeMux()
meter = Meter()
_runs = count()
_held: list[asyncio.Future[None]] = []
RELEASED = 50
"""As many as the worker settles in one call."""


@mux.handler(NOOP)
async def noop(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, on the event loop."""
    meter.run(task.payload.decode())


@mux.handler(THREAD)
def thread(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, in a thread."""
    meter.run(task.payload.decode())


@mux.handler(HOLD)
async def hold(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Run until enough others run. Then RELEASED of them end at once, chosen at random."""
    payload = task.payload.decode()
    meter.run(payload)
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    _held.append(ended)
    if len(_held) == int(payload.split()[0]):
        random.shuffle(_held)
        for _ in range(RELEASED):
            _held.pop().set_result(None)
    if meter.finished:
        while _held:
            _held.pop().set_result(None)
    await ended


@mux.handler(THIRD)
async def third(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Fail in one of three runs."""
    meter.run(task.payload.decode())
    if next(_runs) % 3 == 0:
        raise ValueError("one of three runs fails")


@mux.handler(WAIT)
async def wait(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Wait until the run is cancelled."""
    meter.report("started")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        meter.report(f"cancelled {time.time()}")
        raise


@mux.handler(TIME)
async def now(ctx: Context, task: Task) -> bytes:  # noqa: ARG001 - the shape of a handler
    """Return the time at which the handler ends."""
    return str(time.time()).encode()
