"""ExtensionSchedule: when each lease that a worker holds must be extended. Performs no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.errors import AsynqError, LeaseLostError
from asynq.protocol.message import Lease  # noqa: TC001 - msgspec reads the annotations
from asynq.protocol.ops import ExtendLease

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq.protocol.ops import Extended
    from asynq.worker.leases.held_leases import Holding

EXTENSIONS_PER_LEASE = 3
"""Extensions within the duration of a lease, so that two failed attempts do not lose it."""


class LeaseLost(Struct, tag=True, frozen=True):
    """The lease of a run is lost: the run no longer owns its task."""

    lease: Lease


class CancelMarked(Struct, tag=True, frozen=True):
    """A cancellation is recorded for the task of this run."""

    lease: Lease
    then: Literal["archive", "retry"]


LeaseEvent = LeaseLost | CancelMarked


class _Hold(Struct, gc=False):
    renew_at: float
    until: float
    marked: bool = False
    lost: bool = False


class ExtensionSchedule:
    """When to extend the leases that a worker holds. Times are in seconds of a monotonic clock.

    Args:
        duration: duration of the leases, in milliseconds.
    """

    def __init__(self, duration: int) -> None:
        self.duration = duration
        self._holds: dict[Lease, _Hold] = {}

    @property
    def renewal(self) -> float:
        """Seconds between two extensions of a lease."""
        return self.duration / 1000 / EXTENSIONS_PER_LEASE

    def update(self, held: Iterable[Holding]) -> None:
        """Extend exactly these leases from now on, each until its seconds are over."""
        known, self._holds = self._holds, {}
        for holding in held:
            since = holding.since
            for lease, seconds in zip(holding.leases, holding.seconds, strict=True):
                hold = known.get(lease) or _Hold(since + self.renewal, 0.0)
                hold.until = since + seconds
                self._holds[lease] = hold

    def due(self, now: float) -> list[ExtendLease]:
        """The extensions to send now. Leases past their end expire on their own."""
        return [
            ExtendLease(lease=lease, duration=self.duration)
            for lease, hold in self._holds.items()
            if hold.renew_at <= now < hold.until and not hold.lost
        ]

    def handle_answers(
        self, sent: Sequence[ExtendLease], answers: Sequence[Extended | AsynqError], now: float
    ) -> tuple[list[LeaseEvent], AsynqError | None]:
        """Process the replies to extensions that `due` returned and that were sent at `now`.

        Returns:
            The resulting events, and an error after which the extension is retried, or None.
        """
        events: list[LeaseEvent] = []
        error: AsynqError | None = None
        for op, answer in zip(sent, answers, strict=True):
            hold = self._holds[op.lease]
            if isinstance(answer, LeaseLostError):
                hold.lost = True
                events.append(LeaseLost(op.lease))
            elif isinstance(answer, AsynqError):
                error = answer
            else:
                hold.renew_at = now + self.renewal
                if answer.cancel and not hold.marked:
                    hold.marked = True
                    then: Literal["archive", "retry"] = "archive" if answer.cancel == "archive" else "retry"
                    events.append(CancelMarked(op.lease, then))
        return events, error
