"""What a server logs of runs that did not succeed: one line each, with a traceback when it is news."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asynq.durations import format_duration
from asynq.errors import AsynqError, RateLimited
from asynq.handlers.hooks import error_of
from asynq.handlers.outcome import wraps
from asynq.instants import duration_of
from asynq.protocol.ops import Archive, Requeue, Retry
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.errors import LeaseLostError
    from asynq.handlers.outcome import Outcome, Settlement

log = get_logger("asynq.processor")

MAX_FAILURE_KINDS = 1000
"""Most kinds of failures that are remembered. Types of tasks come from others: there may be any number."""


class FailureLog:
    """Tells of failed runs, the first of each kind with its traceback."""

    def __init__(self) -> None:
        self._traced: set[int] = set()
        """Hashes of the kinds: a type may be long, and a class belong to its run alone."""

    def log(self, op: Settlement, outcome: Outcome) -> None:
        """Say that a run failed, and what follows: a warning for a retry, an error for an archived task.

        An error that is not this library's comes with its traceback when it is the last of its task, when it
        is the first of its class from its line of code for this type of task, and at debug level always. A
        run that a limit held back, or whose handler revoked the task, is told at info level.
        """
        error = error_of(outcome)
        if error is None:
            return
        message, level, trace = op.delivery.message, logging.INFO, False
        if isinstance(op, Archive):
            level, trace = logging.ERROR, True
            what = f"is archived, {message.retried}/{message.max_retry} retries spent"
        elif isinstance(op, Retry):
            delay = format_duration(duration_of(op.delay))
            if wraps(error, RateLimited):
                what = f"is held back for {delay}"
            else:
                level, trace = logging.WARNING, log.isEnabledFor(logging.DEBUG)
                number = f"{message.retried + 1}/{message.max_retry}" if op.failure else "not counted"
                what = f"is retried ({number}) in {delay}"
        else:
            what = "is revoked"
        if level >= logging.WARNING:
            trace |= self._is_new(message.type, error)
        log.log(
            level,
            "task %r (%s) of queue %r %s: %s",
            message.id,
            message.type,
            message.queue,
            what,
            error,
            exc_info=error if trace and not isinstance(error, AsynqError) else None,
        )

    def _is_new(self, task_type: str, error: Exception) -> bool:
        kind = hash((task_type, type(error), *_place(error)))
        if kind in self._traced or len(self._traced) >= MAX_FAILURE_KINDS:
            return False
        self._traced.add(kind)
        return True


def _place(error: Exception) -> tuple[object, ...]:
    """Where it was raised: file and line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return () if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)


def log_put_back(op: Settlement) -> None:
    """Say so if a task is back in its queue because the server shuts down."""
    if isinstance(op, Requeue):
        message = op.delivery.message
        log.info("task %r (%s) of queue %r is put back", message.id, message.type, message.queue)


def log_not_recorded(op: Settlement, error: LeaseLostError, *, maybe_landed: bool) -> None:
    """Say that a settlement was refused, unless an earlier copy of it may have been recorded."""
    verb = type(op).__name__.lower()
    if maybe_landed:
        log.info("%s was most likely recorded before its reply was lost: %s", verb, error)
    else:
        log.warning("%s not recorded: %s", verb, error)
