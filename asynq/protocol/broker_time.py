"""The broker's clock, estimated from its answers: it decides what is due and what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.clock import SteadyClock
from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.ops import Ping

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.protocol.broker import Broker

SYNC_INTERVAL: Final = 10_000
"""Milliseconds for which one answer counts. Clocks of machines drift, and people set them."""


class BrokerTime:
    """Estimate of the broker's clock, kept between answers by a clock that nobody sets.

    Before the first answer it is this machine's time. Afterwards it is behind the broker's clock by less than
    one round trip, and never ahead of it. Usable from any thread.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        """`clock` advances the estimate: the broker's own clock if it was given one."""
        self._counter = clock or SteadyClock()
        self._offset = 0
        self._synced_at: int | None = None

    @property
    def synced(self) -> bool:
        """True once an answer has been received."""
        return self._synced_at is not None

    @property
    def offset(self) -> int:
        """Milliseconds to add to a mark to get the broker's time; 0 before the first answer."""
        return self._offset

    def now(self) -> int:
        """The broker's time in Unix milliseconds."""
        return self._counter.now() + self._offset

    def mark(self) -> int:
        """A reading of the local counter, taken before a request is sent, to pass to `update`."""
        return self._counter.now()

    def update(self, instant: int, *, sent: int) -> None:
        """Correct the estimate: a request was sent at the mark `sent`, and its answer carries `instant`.

        The broker read its clock between request and answer. The earlier estimate is kept as far as it agrees
        with that, so an answer that is processed late does not set the time back.
        """
        received = self._counter.now()
        earliest, latest = instant - received, instant - sent + 1
        known = earliest if self._synced_at is None else self._offset
        self._offset = min(max(known, earliest), latest)
        self._synced_at = received

    def snapshot(self) -> Clock:
        """A clock that continues from the present estimate and is not corrected any more."""
        return _OffsetClock(self._counter, self._offset)

    async def sync(self, broker: Broker) -> None:
        """Ask the broker for its time, unless an answer has carried it recently.

        BrokerUnavailable when the broker cannot be reached. A broker that refuses is asked again later.
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
