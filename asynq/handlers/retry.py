"""Retry policy: when a failed task runs again and whether the failure counts, with the user's callbacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.client.task import Task
from asynq.handlers.failure_rules import NO_RULES
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from random import Random

    from asynq.handlers.failure_rules import FailureRules
    from asynq.handlers.retry_delays import RetryDelay
    from asynq.protocol.message import TaskMessage

log = get_logger("asynq.retry")

MAX_RETRY_DELAY = timedelta(days=100 * 365)
"""Longer delays are cut to this one."""
_MAX_RETRY_SECONDS = MAX_RETRY_DELAY // timedelta(seconds=1)
_MILLISECOND = timedelta(milliseconds=1)

IsFailure = Callable[[Exception], bool]
"""False: the next retry of the task is not counted, and neither is the failure.

If no retries are left, the task is archived all the same.
"""


def default_retry_delay(retried: int, rng: Random) -> timedelta:
    """Go asynq's delay: retried**4 + 15 seconds, plus a random 0 to 29 * (retried + 1) seconds.

    At most MAX_RETRY_DELAY, for any number of retries.
    """
    seconds = retried**4 + 15 + rng.randrange(30) * (retried + 1)
    return timedelta(seconds=min(seconds, _MAX_RETRY_SECONDS))


def no_rules(task_type: str) -> FailureRules:  # noqa: ARG001 - of any type
    """No handler declares any rules."""
    return NO_RULES


@frozen(kw_only=True)
class RetryPolicy:
    """The user's callbacks, and what the handlers declare.

    The default applies when a callback raises or returns an invalid value.
    """

    rng: Random
    delay: RetryDelay | timedelta | None = None
    """For handlers that declare no delay of their own."""
    is_failure: IsFailure | None = None
    rules_of: Callable[[str], FailureRules] = no_rules
    """The rules of the handler of a task type."""

    def archives(self, message: TaskMessage, error: Exception) -> bool:
        """True if the handler of the task declares that such an error is final."""
        return self.rules_of(message.type).archives(error)

    def delay_of(self, message: TaskMessage, error: Exception) -> int:
        """Milliseconds until the task may run again."""
        own = self.rules_of(message.type).retry_delay
        delay = self.delay if own is None else own
        if delay is not None:
            try:
                if isinstance(delay, timedelta):
                    return _milliseconds(delay)
                with ExitForkedChild():
                    answer = delay(message.retried, error, Task.from_message(message))
                return _milliseconds(answer)
            except BaseException:
                log.exception("retry_delay failed for task %r; the default delay is used", message.id)
        return _milliseconds(default_retry_delay(message.retried, self.rng))

    def counts_as_failure(self, message: TaskMessage, error: Exception) -> bool:
        """True if the error is a failure that counts as a retry. By default every error is."""
        if self.is_failure is None:
            return True
        try:
            with ExitForkedChild():
                return bool(self.is_failure(error))
        except BaseException:
            log.exception("is_failure failed for task %r; the error counts as a failure", message.id)
            return True


def _milliseconds(delay: timedelta | float) -> int:
    exact = _to_timedelta(delay)
    if exact < timedelta(0):
        raise ValueError(f"retry_delay returned {exact}, which is negative")
    return -(-min(exact, MAX_RETRY_DELAY) // _MILLISECOND)


def _to_timedelta(delay: timedelta | float) -> timedelta:
    """The delay as a plain timedelta, without methods that a subclass may override; a number is clamped."""
    if isinstance(delay, timedelta):
        return timedelta.__add__(delay, timedelta(0))
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(f"retry_delay must return a timedelta or seconds, not {type(delay).__name__}")
    seconds = int.__int__(delay) if isinstance(delay, int) else float.__float__(delay)
    if isinstance(seconds, float) and math.isnan(seconds):
        raise ValueError("retry_delay returned NaN")
    return timedelta(seconds=max(min(seconds, _MAX_RETRY_SECONDS), -1))
