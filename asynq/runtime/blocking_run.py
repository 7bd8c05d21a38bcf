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
"""Seconds that remaining coroutines of the user have to end after they are cancelled."""


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The event loop factory of uvloop if it is installed. None: use the default of asyncio."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def run_blocking(main: Callable[[], Coroutine[Any, Any, None]], instead: str) -> None:
    """Run a coroutine in a new event loop. The end does not wait for threads or for remaining coroutines.

    Args:
        main: returns the coroutine.
        instead: what to call instead if an event loop is running, for the error message.

    Raises:
        RuntimeError: an event loop is already running in this thread.
    """
    if _loop_is_running():
        raise RuntimeError(f"run() blocks and an event loop is already running: use {instead}")
    with signals_reset_in_children(CHILD_MASKED_SIGNALS):
        _run(asyncio.Runner(loop_factory=loop_factory()), main)


def _run(runner: asyncio.Runner, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = runner.get_loop()
    try:
        loop.set_default_executor(LoopThreadPool(min(32, (os.cpu_count() or 1) + 4)))
        run_to_end(loop, main())
    finally:
        # Closing waits for all tasks of the loop, without a limit.
        if run_to_end(loop, _cancel_others()):
            runner.close()


def run_to_end(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the loop until this coroutine ends, whatever other tasks and callbacks on the loop raise.

    In asyncio, a SystemExit or KeyboardInterrupt from any task also ends the loop. Here it is logged and the
    loop continues. The same applies to errors that signal handlers and log handlers raise in the loop itself.
    An unhandled Ctrl-C cancels the coroutine; KeyboardInterrupt is raised when the coroutine has ended.
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
                log.warning("a task or callback stopped the event loop, which continues")
    task.remove_done_callback(_stop_loop)
    if interrupt is not None:
        raise interrupt
    return task.result()


def _survive(error: BaseException, *, ran: bool) -> None:
    """Log the error that made the event loop return. Raise it if the loop did not run at all."""
    if isinstance(error, SystemExit | KeyboardInterrupt):
        log.error("a coroutine or callback tried to exit the process; only it ends", exc_info=error)
    elif ran:
        log.error("a signal handler or log handler raised in the event loop, which continues", exc_info=error)
    else:
        raise error


def _stop_loop(task: asyncio.Task[Any]) -> None:
    task.get_loop().stop()


def _interrupts() -> bool:
    """Whether SIGINT raises KeyboardInterrupt, because no other handler is set."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _cancel_others() -> bool:
    """Cancel all other tasks of this loop. Returns whether all of them ended within CANCEL_TIMEOUT."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if not others:
        return True
    _, left = await timeouts.wait(others, CANCEL_TIMEOUT)
    if left:
        log.warning(
            "%d coroutines did not end after they were cancelled; the process ends without them", len(left)
        )
    return not left
