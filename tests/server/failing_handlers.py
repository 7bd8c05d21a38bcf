"""Handlers that fail with much in their locals, and a way to see that it is freed."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import weakref
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING

import attrs

from asynq import RateLimited, SkipRetry, Task
from asynq.protocol.ops import GetTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.handlers.context import Context


class Big:
    """Stands for what a handler has in its locals."""

    def __init__(self) -> None:
        self.content = bytearray(1 << 20)
        ALIVE.add(self)


ALIVE: weakref.WeakSet[Big] = weakref.WeakSet()


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing is freed but by its last reference; then no error and no frame of a function is in a cycle."""
    root = logging.getLogger()
    # The handlers of pytest keep records, and their errors with them.
    handlers, root.handlers = root.handlers, [logging.StreamHandler(io.StringIO())]
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [repr(one)[:200] for one in gc.garbage if isinstance(one, BaseException | FrameType | Big)]
    finally:
        root.handlers = handlers
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()
    assert found == []


async def fails(ctx: Context, task: Task) -> None:
    big = Big()
    raise ValueError(len(big.content))


def raise_inner(big: Big) -> None:
    raise KeyError(len(big.content))


async def fails_after_a_wait(ctx: Context, task: Task) -> None:
    big = Big()
    await asyncio.sleep(0)
    try:
        raise_inner(big)
    except KeyError as error:
        raise ValueError("from another") from error


async def exits(ctx: Context, task: Task) -> None:
    big = Big()
    raise SystemExit(len(big.content))


async def fails_in_a_group(ctx: Context, task: Task) -> None:
    big = Big()
    raise ExceptionGroup("several", [ValueError(len(big.content)), SkipRetry()])


async def cancels_itself(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    raise asyncio.CancelledError


async def is_limited(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    raise RateLimited(timedelta(seconds=5))


async def looks_in_vain(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    await ctx.control.broker.aexecute(GetTask(queue="default", task_id="nobody"))


def fails_in_a_thread(ctx: Context, task: Task) -> None:
    big = Big()
    raise ValueError(len(big.content))


def exits_in_a_thread(ctx: Context, task: Task) -> None:
    big = Big()
    raise SystemExit(len(big.content))


def looks_in_vain_in_a_thread(ctx: Context, task: Task) -> None:
    big = Big()
    assert big
    ctx.control.broker.execute(GetTask(queue="default", task_id="nobody"))


@attrs.frozen
class Order:
    number: int


FAILING = [
    fails,
    fails_after_a_wait,
    exits,
    fails_in_a_group,
    cancels_itself,
    is_limited,
    looks_in_vain,
    fails_in_a_thread,
    exits_in_a_thread,
    looks_in_vain_in_a_thread,
]
