"""`FailureRules`: what a handler declares about its failed runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, frozen

from asynq.errors import AsynqError
from asynq.handlers.retry_delays import check_retry_delay

if TYPE_CHECKING:
    from datetime import timedelta

    from asynq.handlers.retry_delays import RetryDelay

ErrorTypes: TypeAlias = "type[Exception] | tuple[type[Exception], ...]"
"""Types of errors, as `except` takes them."""


@frozen(kw_only=True)
class FailureRules:
    """What follows from the failures of one handler. None: not declared.

    TypeError or ValueError, naming the option, for an invalid value.
    """

    retry_delay: RetryDelay | timedelta | None = None
    """Delay before a failed task runs again."""
    retry_on: ErrorTypes | None = None
    """Errors after which a task is retried. It is archived at once after any other error of the handler."""
    archive_on: ErrorTypes | None = None
    """Errors after which a task is archived at once."""

    def __attrs_post_init__(self) -> None:
        check_retry_delay("retry_delay", self.retry_delay)
        _check_errors("retry_on", self.retry_on)
        _check_errors("archive_on", self.archive_on)

    def __or__(self, inner: FailureRules) -> FailureRules:
        """These rules overridden by those of a handler inside."""
        return FailureRules(
            retry_delay=self.retry_delay if inner.retry_delay is None else inner.retry_delay,
            retry_on=self.retry_on if inner.retry_on is None else inner.retry_on,
            archive_on=self.archive_on if inner.archive_on is None else inner.archive_on,
        )

    def archiving(self, error: type[Exception]) -> FailureRules:
        """These rules, and tasks are archived at once after this error too."""
        given = self.archive_on or ()
        return evolve(self, archive_on=(*(given if isinstance(given, tuple) else (given,)), error))

    def archives(self, error: BaseException) -> bool:
        """True if a task is archived at once after this error, or after a member of this group of errors.

        `archive_on` takes precedence. `retry_on` does not concern the library's own errors, such as a
        timeout.
        """
        if isinstance(error, BaseExceptionGroup):
            return any(self.archives(member) for member in error.exceptions)
        if self.archive_on is not None and isinstance(error, self.archive_on):
            return True
        return self.retry_on is not None and not isinstance(error, (self.retry_on, AsynqError))


def _check_errors(name: str, value: Any) -> None:
    kinds = value if isinstance(value, tuple) else () if value is None else (value,)
    for kind in kinds:
        if not isinstance(kind, type) or not issubclass(kind, Exception):
            raise TypeError(f"{name} must be a class of exceptions, or a tuple of such classes, not {kind!r}")


NO_RULES = FailureRules()
