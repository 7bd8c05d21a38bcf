"""The handlers of the measured worker: `asynq worker asynq.bench.app:mux`."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import count
from typing import TYPE_CHECKING

import asynq
from asynq.bench.drivers.harness import Meter
from asynq.bench.names import NAP, NOOP, THIRD, THREAD, TIME, WAIT

if TYPE_CHECKING:
    from asynq import Context, Task

mux = asynq.ServeMux()
meter = Meter()
_runs = count()


@mux.handler(NOOP)
async def noop(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, on the event loop."""
    meter.run(task.payload.decode())


@mux.handler(THREAD)
def thread(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, in a thread."""
    meter.run(task.payload.decode())


@mux.handler(NAP)
async def nap(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """End after a random time, so that tasks end in another order than they started."""
    payload = task.payload.decode()
    meter.run(payload)
    await asyncio.sleep(random.uniform(0, float(payload.split()[0])))  # noqa: S311 - no secret


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
