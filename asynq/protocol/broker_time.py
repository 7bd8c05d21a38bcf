"""The broker's time: it decides what is due and what is late, whatever the clock of this machine shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.clock import SteadyClock
from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.ops import Ping

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.protocol.broker import Broker

SYNC_INTERVAL: Final = 10_000
"""Milliseconds for which an answer counts: clocks of machines drift, and are set."""


class BrokerTime:
    """The time of a broker's clock as its answers have told it, counted on by a clock that nobody sets.

    Before the first answer it is this machine's time. Afterwards it is behind the broker's by less than an
    answer took, and not ahead of it. Usable from any thread.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock`: what counts on, the broker's own if it was given one."""
        self._counter = clock or SteadyClock()
        self._offset = 0
        self._synced_at: int | None = None

    @property
    def synced(self) -> bool:
        """True once an answer has told it."""
        return self._synced_at is not None

    @property
    def offset(self) -> int:
        """What is added to a mark to have the broker's time; 0 before it was told."""
        return self._offset

    def now(self) -> int:
        """The broker's time in Unix milliseconds."""
        return self._counter.now() + self._offset

    def mark(self) -> int:
        """A reading to give to `update`, from before a question is sent."""
        return self._counter.now()

    def update(self, instant: int, *, sent: int) -> None:
        """An answer has come: its question was sent at this mark, and the broker's time was this instant.

        The instant lies somewhere between question and answer. What was known before stands as far as it
        agrees with that: an answer that was read late does not set the time back.
        """
        received = self._counter.now()
        earliest, latest = instant - received, instant - sent + 1
        known = self._offset if self.synced else earliest
        self._offset = min(max(known, earliest), latest)
        self._synced_at = received

    def snapshot(self) -> Clock:
        """A clock that goes on from the present time, and is told nothing more."""
        return _OffsetClock(self._counter, self._offset)

    async def sync(self, broker: Broker) -> None:
        """Ask the broker, unless an answer has told the time lately.

        BrokerUnavailable when it cannot be reached; one that refuses is asked again later.
        """
        if self._synced_at is not None and 0 <= self._counter.now() - self._synced_at < SYNC_INTERVAL:
            return
        sent = self.mark()
        try:
            self.update(await broker.aexecute(Ping()), sent=sent)
        except BrokerUnavailable:
            raise
        except AsynqError:
            self._synced_at = self._counter.now()


class _OffsetClock:
    def __init__(self, counter: Clock, offset: int) -> None:
        self._counter = counter
        self._offset = offset

    def now(self) -> int:
        return self._counter.now() + self._offset
