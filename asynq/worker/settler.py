"""Settlements on their way: sent until the broker has answered them for good."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, evolve

from asynq.errors import AsynqError, LeaseLostError
from asynq.errors.text import error_text
from asynq.handlers.outcome import Failed
from asynq.protocol.answers import is_final, may_be_applied
from asynq.protocol.ops import Archive, Retry
from asynq.runtime.backoff import Backoff, ErrorReporter
from asynq.runtime.logs import get_logger
from asynq.worker.failure_log import log_not_recorded, log_put_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.context import Context
    from asynq.handlers.hooks import Hooks
    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.handlers.runner import Run
    from asynq.protocol.message import Delivery, Lease
    from asynq.worker.leases.keeper import LeaseKeeper
    from asynq.worker.settings import ProcessorSettings

log = get_logger("asynq.processor")

MAX_SETTLEMENTS = 200
"""Most settlements sent at once."""
MAX_FALLBACK_ERROR = 200
"""Characters of an error that are left when the broker does not take the whole."""
SETTLE_TIMEOUT = 5.0
"""Seconds a shutdown waits for settlements that the broker does not take."""


@define(eq=False)
class ActiveTask:
    """Running, then to be settled."""

    delivery: Delivery
    run: Run | None = None
    outcome: Outcome | None = None
    maybe_landed: bool = False
    """True once a settlement was sent whose reply was lost, or that too few replicas confirmed in time."""

    def let_go(self) -> None:
        """Hold the run and its error no longer: their frames may lead back here."""
        self.run = self.outcome = None

    @property
    def context(self) -> Context | None:
        """The run's, None for a delivery that was never run."""
        return self.run.context if self.run else None


class Settler:
    """The settlements of a processor that no answer has ended yet. Belongs to its event loop.

    `held` is the processor's: a delivery leaves it, and its lease is released, when its settlement landed or
    was refused for good. `wake` is called when a settlement is to be sent, `tell` when a run ends in
    another way than it was told to.
    """

    def __init__(
        self,
        terms: ProcessorSettings,
        *,
        held: dict[Lease, ActiveTask],
        keeper: LeaseKeeper,
        hooks: Hooks,
        wake: Callable[[], None],
        tell: Callable[[ActiveTask, Settlement, Outcome], None],
    ) -> None:
        self._terms = terms
        self._held = held
        self._keeper = keeper
        self._hooks = hooks
        self._wake = wake
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(terms.rng)
        self._troubles = ErrorReporter(log, "settling tasks")
        self._ready: list[Settlement] = []
        self._delayed = 0

    def add(self, op: Settlement) -> None:
        """Have this sent."""
        self._ready.append(op)
        self._wake()

    def take(self) -> list[Settlement]:
        """What is to be sent now."""
        taken, self._ready = self._ready[:MAX_SETTLEMENTS], self._ready[MAX_SETTLEMENTS:]
        return taken

    def answered(self, settlements: Sequence[Settlement], answers: Sequence[AsynqError | None]) -> bool:
        """Take in the answers; True if a queue with a shared limit has room again."""
        room = False
        landed: list[Lease] = []
        again: list[Settlement] = []
        for op, answer in zip(settlements, answers, strict=True):
            lease = op.delivery.lease
            if answer is None:
                landed.append(lease)
                room |= lease.queue in self._terms.limits.shared
                self._recorded(op)
            elif isinstance(answer, LeaseLostError):
                landed.append(lease)
                maybe_landed = answer.maybe_applied or self._held[lease].maybe_landed
                log_not_recorded(op, answer, maybe_landed=maybe_landed)
                if maybe_landed:
                    self._recorded(op)
            elif is_final(answer):
                self._held[lease].maybe_landed |= may_be_applied(answer)
                if not self._fall_back(op, answer):
                    landed.append(lease)
            else:
                self._troubles.failed(answer)
                self._held[lease].maybe_landed |= may_be_applied(answer)
                again.append(op)
        self.let_go(landed)
        if again:
            self._later(again)
        elif settlements and not self._delayed:
            self._troubles.worked()
            self._backoff.reset()
        return room

    def let_go(self, leases: Sequence[Lease]) -> None:
        """Hold these no longer."""
        if leases:
            for lease in leases:
                if held := self._held.pop(lease, None):
                    held.let_go()
            self._keeper.release(leases)

    def _recorded(self, op: Settlement) -> None:
        log_put_back(op)
        held = self._held[op.delivery.lease]
        self._hooks.settled(op, held.outcome, held.context)
        if isinstance(op, Retry):
            self._terms.retried(op.delivery.message.queue)

    def _fall_back(self, op: Settlement, refusal: AsynqError) -> bool:
        """End the run in another way than one the broker will never record; False when there is none left."""
        message = op.delivery.message
        if isinstance(op, Retry | Archive) and len(op.error) > MAX_FALLBACK_ERROR:
            self.add(evolve(op, error=op.error[: MAX_FALLBACK_ERROR - 1] + "…"))
            return True
        if isinstance(op, Archive):
            log.error("task %r of queue %r cannot be settled: %s", message.id, message.queue, refusal)
            return False
        held, outcome = self._held[op.delivery.lease], Failed(refusal)
        archive = Archive(delivery=op.delivery, error=error_text(refusal))
        held.outcome = outcome
        self.add(archive)
        self._tell(held, archive, outcome)
        return True

    def _later(self, ops: list[Settlement]) -> None:
        patience = SETTLE_TIMEOUT + self._terms.lease / 1000
        self._keeper.hold({op.delivery.lease: patience for op in ops})
        self._delayed += 1
        self._loop.call_later(self._backoff.pause(), self._settle_again, ops)

    def _settle_again(self, ops: list[Settlement]) -> None:
        self._delayed -= 1
        self._ready += ops
        self._wake()
