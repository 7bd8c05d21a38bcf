"""The handlers of the measured `asynq worker`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asynq
from asynq.bench.drivers.harness import Meter
from asynq.bench.names import NOOP, THREAD

if TYPE_CHECKING:
    from asynq import Context, Task


mux = asynq.ServeMux()
meter = Meter()


@mux.handler(NOOP)
async def noop(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, on the event loop."""
    meter.run(task.payload.decode())


@mux.handler(THREAD)
def thread(ctx: Context, task: Task) -> None:  # noqa: ARG001 - the shape of a handler
    """Do nothing, in a thread."""
    meter.run(task.payload.decode())
