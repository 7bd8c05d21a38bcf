"""Patience with a broker that is away: growing pauses, and one log line per change of state."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable

if TYPE_CHECKING:
    from random import Random


class Backoff:
    """Pauses that double up to a cap, each drawn from the upper half of its span."""

    def __init__(self, rng: Random, *, first: float = 0.1, cap: float = 5.0) -> None:
        self._rng = rng
        self._first = first
        self._cap = cap
        self._span = first

    def pause(self) -> float:
        """Seconds to wait before the next try."""
        span, self._span = self._span, min(self._span * 2, self._cap)
        return self._rng.uniform(span / 2, span)

    def reset(self) -> None:
        """The try succeeded: begin again with the first pause."""
        self._span = self._first


class Outage:
    """A broker that is away, as all parts of a server see it: told once when it goes and once when back."""

    def __init__(
        self, log: logging.Logger, *, reached: bool = False, told: bool = False, why: bool = True
    ) -> None:
        """`reached`: it has been reached before; `told`: it is away, and that was said, and `why`."""
        self._log = log
        self._told = told
        self._why_told = told and why
        self._reached = reached
        self._missing: set[object] = set()

    def began(self, who: object, error: Exception) -> None:
        """One of the parts cannot reach it."""
        self._missing.add(who)
        if not self._why_told:
            self._told = self._why_told = True
            self._log.warning("reaching the broker fails and will be tried again: %s", error)

    def ended(self, who: object) -> None:
        """One of the parts reaches it."""
        self._missing.discard(who)
        if self._missing:
            return
        if self._told:
            self._told = self._why_told = False
            self._log.info("reaching the broker works %s", "again" if self._reached else "now")
        self._reached = True


shared_outage: ContextVar[Outage | None] = ContextVar("shared_outage", default=None)
"""The outage that all tasks of a server's event loop tell of in one voice."""


class ErrorReporter:
    """Says once when something begins to fail, and once when it works again; per key.

    That the broker is away is said by the server's `shared_outage`, where there is one.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._failing: dict[str, str] = {}
        self._told: set[str] = set()
        self._worked: set[str] = set()

    def failed(self, error: Exception, key: str = "") -> None:
        """It failed: logged unless the last try failed with an error of the same kind."""
        kind, outage = type(error).__name__, shared_outage.get()
        if self._failing.get(key) == kind:
            return
        self._failing[key] = kind
        shared = outage is not None and isinstance(error, BrokerUnavailable)
        if not shared:
            self._told.add(key)
        level = logging.DEBUG if shared else logging.WARNING
        self._log.log(level, "%s fails and will be tried again: %s", self._named(key), error)
        if outage and shared:
            outage.began((self, key), error)
        elif outage:
            outage.ended((self, key))

    def worked(self, key: str = "", *, heard: bool = True) -> None:
        """It worked: logged if it failed before, as loudly as that was.

        heard: the broker answered; False where it need not have been asked.
        """
        failed = self._failing.pop(key, None) is not None
        if failed:
            level = logging.INFO if key in self._told else logging.DEBUG
            self._log.log(level, "%s works %s", self._named(key), "again" if key in self._worked else "now")
        self._told.discard(key)
        self._worked.add(key)
        outage = shared_outage.get()
        if outage and (heard or failed):
            outage.ended((self, key))

    def _named(self, key: str) -> str:
        return f"{self._what} of queue {key!r}" if key else self._what
