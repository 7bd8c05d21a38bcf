"""Handlers that handler processes import from this module."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.client.task import Task
from asynq.errors import RetryIn, RevokeTask, SkipRetry, TaskCancelledError
from asynq.handlers.context import current_context
from asynq.handlers.limits import RateLimit, Semaphore
from asynq.info import TaskInfo

if TYPE_CHECKING:
    from asynq.handlers.context import Context
    from asynq.handlers.sync_middleware import SyncNext


@frozen
class Order:
    number: int


class OddError(Exception):
    """An error that cannot be pickled."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.lock = threading.Lock()


class FormatsError(Exception):
    """An error that is constructed from a number and formats its text."""

    def __init__(self, number: int) -> None:
        super().__init__(f"bad {number}")
        self.number = number


def pid(ctx: Context, task: Task) -> str:
    return str(os.getpid())


def facts(ctx: Context, task: Task) -> dict[str, Any]:
    assert current_context() is ctx
    return {
        "id": ctx.task_id,
        "queue": ctx.queue,
        "retried": ctx.retried,
        "deadline": ctx.deadline.timestamp(),
        "payload": task.payload.decode(),
        "headers": dict(ctx.headers),
        "cancelled": ctx.cancelled,
    }


def double(ctx: Context, order: Order) -> int:
    return order.number * 2


def total(ctx: Context, orders: dict[str, Order] | None) -> int:
    return sum(order.number for order in (orders or {}).values())


def size(ctx: Context, payload: memoryview) -> int:
    return len(payload)


def progress(ctx: Context, task: Task) -> str:
    ctx.write_result_sync({"half": True})
    return "done"


held: list[bytes] = []


def grow(ctx: Context, task: Task) -> str:
    """Keep as many bytes as the payload says."""
    held.append(b"x" * int(task.payload))
    return str(os.getpid())


def forks(ctx: Context, task: Task) -> str:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return "its own"
    if task.payload == b"raise":
        raise ValueError("the child's")
    if task.payload == b"write":
        ctx.write_result_sync("the child's")
    return "the child's"


def leaves_a_thread(ctx: Context, task: Task) -> None:
    def disturb() -> None:
        while True:
            with suppress(TaskCancelledError):
                ctx.write_result_sync("late")

    threading.Thread(target=disturb, daemon=True).start()


def fail(ctx: Context, task: Task) -> None:
    match task.payload:
        case b"value":
            raise ValueError("boom")
        case b"skip":
            raise OSError("disk") from SkipRetry("for good")
        case b"revoke":
            raise RevokeTask
        case b"later":
            raise RetryIn(timedelta(seconds=7), "busy")
        case b"odd later":
            raise type("Odd", (RetryIn,), {})(timedelta(seconds=7), "busy")
        case b"formats":
            raise FormatsError(3)
        case b"odd":
            raise OddError("odd")
        case b"exit":
            sys.exit(3)


def unpicklable_result(ctx: Context, task: Task) -> object:
    return object()


def crash(ctx: Context, task: Task) -> None:
    match task.payload:
        case b"segfault":
            ctypes.string_at(0)
        case b"exit":
            os._exit(7)
        case signal:
            os.kill(os.getpid(), int(signal))


def limited(ctx: Context, task: Task) -> str:
    with Semaphore("s", 1).hold(ctx):
        RateLimit("once", 1, timedelta(hours=1)).take_sync(ctx)
        return "in"


def spin(ctx: Context, task: Task) -> None:
    """Record the current processes in the file named by the payload, then run forever."""
    helper = subprocess.Popen(["sleep", "60"])
    file = Path(task.payload.decode())
    file.with_suffix(".new").write_text(f"{os.getpid()} {helper.pid}")
    file.with_suffix(".new").rename(file)
    while True:
        time.sleep(0)


def sends_two(ctx: Context, task: Task) -> None:
    """Enqueue two tasks through the broker of the worker."""
    ctx.client_sync.enqueue(Task("next"), queue="later")
    [sent] = ctx.client_sync.enqueue_many([Task("next")], queue="later")
    assert isinstance(sent, TaskInfo)


def reads_state(ctx: Context, task: Task) -> None:
    """Ask for what the lifespan of the server made."""
    assert ctx.state is None


def tracing(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
    """A middleware that says where it runs and what it sees."""
    ctx.values["seen"] = "from the middleware"
    try:
        answer = next(ctx, task)
    except LookupError as error:
        raise SkipRetry(f"{error} in {os.getpid() == ctx.values['pid']}") from error
    return [os.getpid(), threading.get_ident(), *answer]


@frozen
class Marking:
    """A middleware with a field."""

    mark: Any

    def __call__(self, ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        return [*next(ctx, task), self.mark]


def traced(ctx: Context, task: Task) -> Any:
    ctx.values["pid"] = os.getpid()
    if task.payload:
        raise LookupError(task.payload.decode())
    return [os.getpid(), threading.get_ident(), ctx.values["seen"], current_context() is ctx]


def decorated_over(ctx: Context, task: Task) -> None: ...


original = decorated_over


def decorated_over(ctx: Context, task: Task) -> None: ...  # type: ignore[no-redef]
