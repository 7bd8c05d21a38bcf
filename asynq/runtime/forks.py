"""Forks by user code: the child gets the original signal handlers and exits where the user's call ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from asynq.runtime.safe_text import shown, shown_traceback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_before: dict[signal.Signals, Any] = {}
"""The signals that this process handles now, with their previous handlers."""


_generation = 0
"""How many forks lie between this process and the one that imported this module."""


class _Masks(threading.local):
    """The signals that a thread had blocked before it forked."""

    before: set[Any] | None = None


_masks = _Masks()


@contextmanager
def signals_reset_in_children(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Give children that are forked in this context the current handlers of these signals.

    Without this, a signal sent to a child would reach the event loop of its parent and would not end the
    child. Does nothing outside the main thread, because only the main thread can set signal handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outer = dict(_before)
    for number in numbers:
        _before.setdefault(number, signal.getsignal(number))
    try:
        yield
    finally:
        _before.clear()
        _before.update(outer)


class ExitForkedChild:
    """Context manager around a call of user code. A child that the call forks exits where the call ends.

    The child exits like a program: with status 0, with the status of its SystemExit, or, after any other
    error, with status 1 and a traceback. Without this, it would continue as a second copy of its parent.
    """

    __slots__ = ("_generation",)

    def __enter__(self) -> Self:
        self._generation = _generation
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if _generation != self._generation:
            _exit(error)


def _exit(error: BaseException | None) -> None:
    status = 0 if error is None else 1
    try:
        if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
            status = error.code or 0
        elif isinstance(error, SystemExit):
            sys.stderr.write(f"{shown(error.code)}\n")
        elif error is not None:
            sys.stderr.write(f"{shown_traceback(error)}\n")
    finally:
        # Not sys.exit: exit handlers of this process are for its parent to run.
        with suppress(BaseException):
            flush()
        os._exit(status & 0xFF)


def flush() -> None:
    """Flush stdout and stderr."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):
            stream.flush()


def _before_fork() -> None:
    if _before:
        # A signal must not arrive in the child before the child has its own handlers.
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _before)


def _after_in_parent() -> None:
    if _masks.before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _masks.before)
        _masks.before = None


def _after_in_child() -> None:
    global _generation  # noqa: PLW0603 - it is the state of this process
    _generation += 1
    if _before:
        signal.set_wakeup_fd(-1)
        handlers = {n: signal.SIG_DFL if handler is None else handler for n, handler in _before.items()}
        _before.clear()
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_IGN if handler == signal.SIG_IGN else signal.SIG_DFL)
        # A pending signal takes effect now. An error that a Python handler raises here would be lost.
        _after_in_parent()
        for number, handler in handlers.items():
            signal.signal(number, handler)


os.register_at_fork(before=_before_fork, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
