"""Tasks whose functions handler processes import from this module."""

from __future__ import annotations

import os

import asynq
from tests.unit.process_handlers import Order  # noqa: TC001 - annotations of tasks are evaluated

mux = asynq.ServeMux()


@mux.task("t", executor="process")
def double(ctx: asynq.Context, order: Order, *, pid: int) -> str:
    assert pid != os.getpid()
    return f"{ctx.task_id}: {2 * order.number}"
