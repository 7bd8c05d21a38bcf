"""A worker whose handlers fork: python forking.py URL LOG_FILE LOOP."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq import Context

if sys.argv[3] == "asyncio":
    sys.modules["uvloop"] = None  # type: ignore[assignment]

import asynq

URL, LOG = sys.argv[1:3]
fork = multiprocessing.get_context("fork")
mux = asynq.ServeMux()


def note(what: object) -> None:
    with open(LOG, "a") as log:  # noqa: PTH123
        log.write(f"{what}\n")


def square(number: int) -> int:
    return number * number


def pool(ctx: Context, task: asynq.Task) -> None:
    with fork.Pool(2) as workers:
        note(sum(workers.map(square, range(4))))


def terminated(ctx: Context, task: asynq.Task) -> None:
    child = fork.Process(target=threading.Event().wait, args=(60,))
    child.start()
    child.terminate()
    child.join()
    note(child.exitcode)


def forked(ctx: Context, task: asynq.Task) -> None:
    """The child comes back from the handler, as a copy of it."""
    child = os.fork()
    if not child:
        if task.payload == b"raise":
            raise ValueError("the child's")
        if task.payload == b"exit":
            sys.exit(7)
        return
    note(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def interrupted(ctx: Context, task: asynq.Task) -> None:
    """Outlives a Ctrl-C, which ends its child."""
    child = fork.Process(target=begin)
    child.start()
    child.join()
    note("ended" if child.exitcode else "not ended")


def begin() -> None:
    """Note that the child runs."""
    note("begun")
    threading.Event().wait(60)


HANDLERS = (pool, terminated, forked)
mux.handle("interrupted", interrupted)
for handler in HANDLERS:
    mux.handle(f"thread {handler.__name__}", handler)
    mux.handle(f"process {handler.__name__}", handler, executor="process")


@mux.handler("coroutine")
async def coroutine(ctx: Context, task: asynq.Task) -> None:
    """Forks the thread of the event loop."""
    terminated(ctx, task)
    forked(ctx, task)


def fork_and_return(task: asynq.Task, ctx: Context) -> None:
    """A hook whose child comes back."""
    if task.type == "hook":
        child = os.fork()
        if child:
            note(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


mux.handle("hook", lambda ctx, task: None)

if __name__ == "__main__":
    signal.alarm(60)
    # Handlers that run one after the other note one after the other.
    asynq.Server(URL, concurrency=1, on_success=fork_and_return).run(mux)
    note("closed")
