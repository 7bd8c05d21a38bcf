"""Logs failed runs, one line each. Tracebacks are logged once per kind of failure."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asynq.durations import format_duration
from asynq.errors import AsynqError, HandlerNotFoundError, RateLimited
from asynq.handlers.hooks import error_of
from asynq.handlers.outcome import Cancelled, wraps
from asynq.instants import duration_of
from asynq.protocol.ops import Archive, Requeue, Retry
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.errors import LeaseLostError
    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.protocol.message import TaskMessage

log = get_logger("asynq.processor")

MAX_FAILURE_KINDS = 1000
"""Maximum number of remembered kinds of failures. Task types come from clients and are not bounded."""


class FailureLog:
    """Logs failed runs, the first one of each kind with its traceback."""

    def __init__(self) -> None:
        self._traced: set[int] = set()
        """Hashes of the kinds. A task type may be long, and an error class may exist for one run only."""

    def log(self, op: Settlement, outcome: Outcome) -> None:
        """Log how a run failed and what follows: a warning for a retry, an error for an archived task.

        Errors from user code are logged with their traceback if the task is archived, if the error is the
        first of its class, line of code and task type, and always at debug level. Runs that were rate limited
        and tasks that were revoked are logged at info level.
        """
        error = error_of(outcome)
        if error is None:
            return
        message, level, trace = op.delivery.message, logging.INFO, False
        if isinstance(op, Archive):
            level, trace = logging.ERROR, True
            if isinstance(outcome, Cancelled):
                what = "is archived"
            elif message.retried >= message.max_retry:
                what = f"is archived, retries exhausted ({message.retried}/{message.max_retry})"
            else:
                what = f"is archived after {message.retried} of {message.max_retry} retries"
        elif isinstance(op, Retry):
            delay = format_duration(duration_of(op.delay))
            if wraps(error, RateLimited):
                what = f"is delayed by a limit for {delay}"
            else:
                level, trace = logging.WARNING, log.isEnabledFor(logging.DEBUG)
                number = f"{message.retried + 1}/{message.max_retry}" if op.failure else "not counted"
                what = f"is retried ({number}) in {delay}"
        else:
            what = "is revoked"
        if level >= logging.WARNING:
            new = self._is_new(message.type, error)
            trace |= new
            if new and isinstance(error, HandlerNotFoundError):
                log.warning(
                    "no handler matches the task type %r: register one, import the module that does,"
                    " or correct the type where the task is enqueued",
                    message.type,
                )
        log.log(
            level,
            "task %r (%s) of queue %r %s: %s",
            message.id,
            message.type,
            message.queue,
            what,
            error,
            exc_info=error if trace and not isinstance(error, AsynqError) else None,
            extra=_task(message),
        )

    def _is_new(self, task_type: str, error: Exception) -> bool:
        kind = hash((task_type, type(error), *_place(error)))
        if kind in self._traced or len(self._traced) >= MAX_FAILURE_KINDS:
            return False
        self._traced.add(kind)
        return True


def _place(error: Exception) -> tuple[object, ...]:
    """The file and line where an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return () if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)


def _task(message: TaskMessage) -> dict[str, object]:
    """What logs in JSON say of the task besides the message."""
    return {
        "task_id": message.id,
        "task_type": message.type,
        "task_queue": message.queue,
        "task_attempt": message.retried + 1,
    }


def log_put_back(op: Requeue) -> None:
    """Log that a task was requeued because the server shuts down."""
    message = op.delivery.message
    log.info("task %r (%s) of queue %r is requeued", message.id, message.type, message.queue)


def log_not_recorded(op: Settlement, error: LeaseLostError, *, maybe_landed: bool) -> None:
    """Log that a settlement was refused, unless an earlier attempt may have been recorded."""
    verb = type(op).__name__.lower()
    if maybe_landed:
        log.info("%s was probably recorded before its reply was lost: %s", verb, error)
    else:
        log.warning("%s was not recorded: %s", verb, error)
