"""Blocking `run()`: an event loop that ends without waiting for threads or coroutines of the user."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from asynq.runtime import timeouts
from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS
from asynq.runtime.forks import signals_reset_in_children
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import LoopThreadPool

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

log = get_logger("asynq.server")

CANCEL_TIMEOUT = 1.0
"""Seconds that coroutines of the user have to end when all else has ended."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes uvloop's event loops where it is installed; None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_blocking(main: Callable[[], Coroutine[Any, Any, None]], instead: str) -> None:
    """Run in an event loop of its own, whose end waits for no thread, and for no coroutine that goes on.

    RuntimeError, naming what to do instead, where an event loop is running already.
    """
    if _runs_already():
        raise RuntimeError(f"run() blocks, and here an event loop is running: use {instead}")
    with signals_reset_in_children(CHILD_MASKED_SIGNALS):
        _run(asyncio.Runner(loop_factory=loop_factory()), main)


def _run(runner: asyncio.Runner, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = runner.get_loop()
    try:
        loop.set_default_executor(LoopThreadPool(min(32, (os.cpu_count() or 1) + 4)))
        run_to_end(loop, main())
    finally:
        # Closing waits for every task of the loop, for ever if need be.
        if run_to_end(loop, _others_end()):
            runner.close()


def run_to_end(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the loop until this coroutine ends, whatever other tasks and callbacks on the loop raise.

    SystemExit and KeyboardInterrupt end a loop of asyncio from any task, beside being the outcome of that
    task: here they are logged, and the loop goes on. So is what handlers of signals and of log records raise
    in the loop itself. A Ctrl-C that nobody handles cancels the coroutine, and is raised at its end.
    """
    task = loop.create_task(coroutine)
    interrupt: KeyboardInterrupt | None = None
    task.add_done_callback(_stop_loop)
    while not task.done():
        steps: list[None] = []
        try:
            loop.call_soon(steps.append, None)
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - of the user's code
            if task.done():
                break
            if isinstance(error, KeyboardInterrupt) and _interrupts():
                interrupt = error
                task.cancel()
            else:
                _survive(error, ran=bool(steps))
        else:
            if not task.done():
                log.warning("the event loop was stopped by a task or a callback; it goes on")
    task.remove_done_callback(_stop_loop)
    if interrupt is not None:
        raise interrupt
    return task.result()


def _survive(error: BaseException, *, ran: bool) -> None:
    """Log what made an event loop return; raise it when the loop did not even begin to run."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        log.error("a coroutine or a callback raised what ends programs: it alone ends", exc_info=error)
    elif ran:
        log.error("what handles signals or log records broke into the event loop; it goes on", exc_info=error)
    else:
        raise error


def _stop_loop(task: asyncio.Task[Any]) -> None:
    task.get_loop().stop()


def _interrupts() -> bool:
    """Whether SIGINT raises KeyboardInterrupt: before and after the signals are handled, or instead."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def _runs_already() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _others_end() -> bool:
    """Cancel what else runs on this loop; whether all of it has ended within CANCEL_TIMEOUT."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return True
    _, left = await timeouts.wait(others, CANCEL_TIMEOUT)
    if left:
        log.warning(
            "%d coroutines do not end when they are cancelled: the program ends without them", len(left)
        )
    return not left
