"""Delays before a failed task runs again: `RetryDelay`, the type of a function, and `Backoff`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random
from typing import TypeAlias

from attrs import field, frozen

from asynq.checks import check_callback, check_duration, check_interval
from asynq.client.task import Task

RetryDelay: TypeAlias = Callable[[int, Exception, Task], timedelta | float]
"""Called with the number of retries so far, the error and the task.

Returns the delay as a timedelta or in seconds.
"""


@frozen
class Backoff:
    """A retry delay that grows with each retry: `initial`, then `factor` times as long each time.

    Args:
        initial: the delay before the first retry.
        factor: how much longer each delay is than the one before, at least 1.
        maximum: the longest delay.
        jitter: the random part of a delay, from 0 to 1: with 0.25, each delay is between 75 % and 100 %. It
            spreads the retries of tasks that failed at the same time.

    Raises:
        TypeError: an option has the wrong type; the message names it.
        ValueError: an option is out of range; the message names it.
    """

    initial: timedelta
    factor: float = field(default=2.0, kw_only=True)
    maximum: timedelta = field(default=timedelta(hours=1), kw_only=True)
    jitter: float = field(default=0.25, kw_only=True)
    _rng: Random = field(factory=Random, kw_only=True, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        check_interval("initial", self.initial)
        check_duration("maximum", self.maximum)
        _check_number("factor", self.factor, 1, float("inf"))
        _check_number("jitter", self.jitter, 0, 1)

    def __call__(self, retried: int, error: Exception, task: Task) -> timedelta:  # noqa: ARG002 - a RetryDelay
        """The delay after this many retries."""
        try:
            exact = min(self.initial.total_seconds() * self.factor**retried, self.maximum.total_seconds())
        except OverflowError:
            exact = self.maximum.total_seconds()
        return timedelta(seconds=exact * (1 - self.jitter * self._rng.random()))


def check_retry_delay(name: str, value: object) -> None:
    """None, a duration, or a sync function that returns one."""
    if isinstance(value, timedelta):
        check_duration(name, value)
    elif value is not None and not callable(value):
        raise TypeError(f"{name} must be a timedelta, a Backoff or a function, not {type(value).__name__}")
    else:
        check_callback(name, value, takes="(retried, error, task)", at_once=True)


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be between {least} and {most}; it is {value}")
