"""The outcome of a run and the decision that follows: done, complete, retry, archive or requeue."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, assert_never

from attrs import frozen

from asynq.errors import RateLimited, RetryIn, RevokeTask, SkipRetry, TaskCancelledError
from asynq.errors.base import ANY_FAILURE
from asynq.errors.text import error_text
from asynq.handlers.retry import MAX_RETRY_DELAY
from asynq.protocol.ops import Archive, Complete, Done, Requeue, Retry
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.handlers.retry import RetryPolicy
    from asynq.protocol.message import Delivery


@frozen
class Succeeded:
    """The handler returned."""

    result: bytes | None = None
    """The encoded return value of the handler; None if it returned None."""


@frozen
class Failed:
    """The handler raised an error, exceeded its time, or could not be run."""

    error: Exception


@frozen
class Cancelled:
    """The task was cancelled by an operator while it ran."""

    then: Literal["archive", "retry"]


@frozen
class Interrupted:
    """The run was ended before its handler returned, for a reason outside of the task."""

    why: Literal["shutdown", "lease_lost"]


log = get_logger("asynq.processor")

FALLBACK_RETRY_DELAY = 60_000
"""Retry delay in milliseconds for a failure that could not be evaluated."""

Outcome = Succeeded | Failed | Cancelled | Interrupted

Settlement = Done | Complete | Retry | Archive | Requeue
"""The operations that settle a run."""


def decide(delivery: Delivery, outcome: Outcome, rules: RetryPolicy, now: int) -> Settlement | None:
    """The operation that settles a run; None when the run no longer owns its task.

    - Succeeded: completed if the task has a retention, else done.
    - Failed: the first rule that applies. Done if the error is or wraps a RevokeTask; archived if the task's
      deadline has passed; retried without counting as a failure if the error is or wraps a RateLimited;
      archived if the error is or wraps a SkipRetry, the handler declares it as final, or no retry is left;
      else retried, after the time of a RetryIn that the error is or wraps, or else after the retry delay.
    - Cancelled: archived or retried, as requested. A retry counts as a failure.
    - Interrupted by shutdown: requeued at the head of its queue.

    Never raises: if an error cannot be evaluated, this is logged and the task is retried while it has retries
    left, then archived.
    """
    if isinstance(outcome, Succeeded):
        if delivery.message.retention > 0:
            return Complete(delivery=delivery, result=outcome.result)
        return Done(delivery=delivery)
    try:
        return _unless_succeeded(delivery, outcome, rules, now)
    except ANY_FAILURE:
        log.exception("task %r: the failure cannot be evaluated", delivery.message.id)
    spent = delivery.message.retried >= delivery.message.max_retry
    text = error_text(outcome.error) if isinstance(outcome, Failed) else "asynq: the outcome is unreadable"
    if spent:
        return Archive(delivery=delivery, error=text)
    return Retry(delivery=delivery, delay=FALLBACK_RETRY_DELAY, error=text)


def _unless_succeeded(
    delivery: Delivery, outcome: Failed | Cancelled | Interrupted, rules: RetryPolicy, now: int
) -> Settlement | None:
    match outcome:
        case Failed():
            return _after_failure(delivery, outcome.error, rules, now)
        case Cancelled():
            error = TaskCancelledError("an operator requested it")
            if outcome.then == "archive":
                return Archive(delivery=delivery, error=error_text(error))
            return _after_failure(delivery, error, rules, now)
        case Interrupted():
            return Requeue(delivery=delivery) if outcome.why == "shutdown" else None
        case _:
            assert_never(outcome)


def _after_failure(delivery: Delivery, error: Exception, rules: RetryPolicy, now: int) -> Settlement:
    message, text = delivery.message, error_text(error)
    if wraps(error, RevokeTask):
        return Done(delivery=delivery)
    too_late = 0 < message.deadline * 1000 <= now
    limited = next((part for part in _parts(error) if isinstance(part, RateLimited)), None)
    if limited and not too_late:
        return Retry(delivery=delivery, delay=_delay(limited), error=text, failure=False)
    spent = message.retried >= message.max_retry
    if too_late or spent or wraps(error, SkipRetry) or rules.archives(message, error):
        return Archive(delivery=delivery, error=text)
    asked = next((part for part in _parts(error) if isinstance(part, RetryIn)), None)
    delay = _delay(asked) if asked else rules.delay_of(message, error)
    return Retry(delivery=delivery, delay=delay, error=text, failure=rules.counts_as_failure(message, error))


def _delay(asked: RateLimited | RetryIn) -> int:
    """The milliseconds that the handler asks for."""
    return -(-min(asked.retry_in, MAX_RETRY_DELAY) // timedelta(milliseconds=1))


def wraps(error: BaseException, kind: type[BaseException]) -> bool:
    """True if the error is of this kind, has a cause of this kind, or is a group with such a member."""
    return any(isinstance(part, kind) for part in _parts(error))


def is_inspectable(error: BaseException) -> bool:
    """False for an error that raises another error when it is inspected.

    Nothing can be decided from such an error.
    """
    try:
        for part in _parts(error):
            # The operations applied to errors wherever one is evaluated or logged.
            bool(part), isinstance(part, RateLimited), isinstance(part, RetryIn)
    except BaseException:  # noqa: BLE001 - the user's own code, SystemExit included
        return False
    return True


def _parts(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and the members of its groups, each once: causes may be cyclic."""
    waiting, seen = [error], set[int]()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if part.__cause__ is not None:
            waiting.append(part.__cause__)
        if isinstance(part, BaseExceptionGroup):
            waiting.extend(part.exceptions)
