"""Which leases are held and when each must be extended. Pure: time comes in, operations go out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import define, frozen

from asynq.errors import AsynqError, LeaseLostError
from asynq.protocol.ops import ExtendLease

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.protocol.message import Lease
    from asynq.protocol.ops import Extended

EXTENSIONS_PER_LEASE = 3
"""How often a lease is extended within its duration, so that two failed attempts lose nothing."""


@frozen
class LeaseLost:
    """The run no longer owns its task."""

    lease: Lease


@frozen
class CancelMarked:
    """A cancellation is recorded for the task of this run."""

    lease: Lease
    then: Literal["archive", "retry"]


LeaseEvent = LeaseLost | CancelMarked


@define
class _Hold:
    renew_at: float
    until: float
    marked: bool = False


class ExtensionSchedule:
    """The held leases of one worker. Times are seconds of any one clock that does not jump."""

    def __init__(self, duration: int) -> None:
        """`duration` of the leases in milliseconds."""
        self.duration = duration
        self._holds: dict[Lease, _Hold] = {}

    @property
    def renewal(self) -> float:
        """Seconds between two extensions of a lease."""
        return self.duration / 1000 / EXTENSIONS_PER_LEASE

    def hold(self, lease: Lease, until: float, now: float) -> None:
        """Extend this lease from now on, for no longer than `until`. Held before: only `until` changes."""
        hold = self._holds.get(lease)
        if hold is None:
            self._holds[lease] = _Hold(now + self.renewal, until)
        else:
            hold.until = until

    def release(self, lease: Lease) -> None:
        """Leave this lease alone from now on."""
        self._holds.pop(lease, None)

    def held(self, now: float) -> Iterator[tuple[Lease, float]]:
        """Every held lease, and for how many seconds at most it is to be extended."""
        return ((lease, hold.until - now) for lease, hold in self._holds.items() if hold.until > now)

    def due(self, now: float) -> list[ExtendLease]:
        """The extensions to send now. A lease past its end is let go: it lapses by itself."""
        for lease in [lease for lease, hold in self._holds.items() if hold.until <= now]:
            del self._holds[lease]
        return [
            ExtendLease(lease=lease, duration=self.duration)
            for lease, hold in self._holds.items()
            if hold.renew_at <= now
        ]

    def answered(
        self, sent: Sequence[ExtendLease], answers: Sequence[Extended | AsynqError], now: float
    ) -> tuple[list[LeaseEvent], AsynqError | None]:
        """What the answers to extensions sent at `now` mean, and an error that asks for another try."""
        events: list[LeaseEvent] = []
        trouble: AsynqError | None = None
        for op, answer in zip(sent, answers, strict=True):
            hold = self._holds.get(op.lease)
            if hold is None:
                continue
            if isinstance(answer, LeaseLostError):
                del self._holds[op.lease]
                events.append(LeaseLost(op.lease))
            elif isinstance(answer, AsynqError):
                trouble = answer
            else:
                hold.renew_at = now + self.renewal
                if answer.cancel and not hold.marked:
                    hold.marked = True
                    then: Literal["archive", "retry"] = "archive" if answer.cancel == "archive" else "retry"
                    events.append(CancelMarked(op.lease, then))
        return events, trouble
