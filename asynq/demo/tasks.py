"""The handlers of the demo: an async handler computes a file's SHA-256, a sync handler counts its words."""

from __future__ import annotations

import asyncio
import os
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import asynq

if TYPE_CHECKING:
    from asynq import Context, Task

DIGEST = "demo:digest"
COUNT = "demo:count"
RUN_LOG_VARIABLE = "ASYNQ_DEMO_RUN_LOG"

mux = asynq.ServeMux()


@mux.handler(DIGEST)
async def digest(ctx: Context, task: Task) -> str:
    """Return the SHA-256 of the file."""
    log_run(ctx)
    content = await asyncio.to_thread(read, task)
    return sha256(content).hexdigest()


@mux.handler(COUNT)
def count(ctx: Context, task: Task) -> dict[str, int]:
    """Return the lines, words and bytes of the file, as `wc` counts them."""
    log_run(ctx)
    content = read(task)
    return {"lines": content.count(b"\n"), "words": len(content.split()), "bytes": len(content)}


def read(task: Task) -> bytes:
    """Read the file whose path is the payload. The path is in bytes, because names need not be UTF-8."""
    try:
        return Path(os.fsdecode(task.payload)).read_bytes()
    except FileNotFoundError:
        return b""  # Deleted since it was listed. This is not a failure.


def log_run(ctx: Context) -> None:
    """Log the start of a run. The line is written atomically, because several processes write to the file."""
    os.write(_run_log(), f"{ctx.task_id} {os.getpid()}\n".encode())


@cache
def _run_log() -> int:
    return os.open(os.environ[RUN_LOG_VARIABLE], os.O_WRONLY | os.O_APPEND)
