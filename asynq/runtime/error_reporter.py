"""Logs that something fails once, and that it works again once, instead of a line for every attempt."""

from __future__ import annotations

import logging
from contextvars import ContextVar

from asynq.errors import BrokerUnavailable


class Outage:
    """Tracks for all parts of a server that the broker is unreachable. Logs the start and the end once.

    Args:
        log: the logger.
        reached: the broker was reached before.
        logged: the outage has already started and was logged.
        with_reason: the log line of an outage that was logged included the reason.
    """

    def __init__(
        self, log: logging.Logger, *, reached: bool = False, logged: bool = False, with_reason: bool = True
    ) -> None:
        self._log = log
        self._logged = logged
        self._reason_logged = logged and with_reason
        self._reached = reached
        self._failing: set[object] = set()

    def began(self, part: object, error: Exception) -> None:
        """Record that a part of the server cannot reach the broker."""
        self._failing.add(part)
        if not self._reason_logged:
            self._logged = self._reason_logged = True
            self._log.warning("cannot reach the broker, retrying: %s", error)

    def ended(self, part: object) -> None:
        """Record that a part of the server reached the broker."""
        self._failing.discard(part)
        if self._failing:
            return
        if self._logged:
            self._logged = self._reason_logged = False
            self._log.info("the broker is reachable %s", "again" if self._reached else "now")
        self._reached = True


shared_outage: ContextVar[Outage | None] = ContextVar("shared_outage", default=None)
"""The outage that all tasks of a server's event loop report to."""


class ErrorReporter:
    """Logs once when an operation starts to fail, and once when it works again. Separately for each key.

    If there is a `shared_outage`, that one logs an unreachable broker, and this uses debug level for it.

    Args:
        log: the logger.
        operation: what fails or works, at the start of each log line.
    """

    def __init__(self, log: logging.Logger, operation: str) -> None:
        self._log = log
        self._operation = operation
        self._failing: dict[str, str] = {}
        self._logged: set[str] = set()
        self._worked: set[str] = set()

    def failed(self, error: Exception, key: str = "") -> None:
        """Record a failure. Logged unless the previous attempt failed with the same kind of error."""
        kind, outage = type(error).__name__, shared_outage.get()
        if self._failing.get(key) == kind:
            return
        self._failing[key] = kind
        shared = outage is not None and isinstance(error, BrokerUnavailable)
        if not shared:
            self._logged.add(key)
        level = logging.DEBUG if shared else logging.WARNING
        self._log.log(level, "%s failed, retrying: %s", self._named(key), error)
        if outage and shared:
            outage.began((self, key), error)
        elif outage:
            outage.ended((self, key))

    def worked(self, key: str = "", *, broker_answered: bool = True) -> None:
        """Record a success. Logged if the operation failed before, at the level that matches that failure.

        Args:
            key: the key.
            broker_answered: False if the operation may have succeeded without asking the broker.
        """
        failed = self._failing.pop(key, None) is not None
        if failed:
            level = logging.INFO if key in self._logged else logging.DEBUG
            self._log.log(level, "%s works %s", self._named(key), "again" if key in self._worked else "now")
        self._logged.discard(key)
        self._worked.add(key)
        outage = shared_outage.get()
        if outage and (broker_answered or failed):
            outage.ended((self, key))

    def _named(self, key: str) -> str:
        return f"{self._operation} of queue {key!r}" if key else self._operation
