"""Settler: retries settlements until the broker confirms or finally refuses them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define
from msgspec.structs import replace

from asynq.errors import AsynqError, LeaseLostError
from asynq.errors.text import error_text
from asynq.handlers.outcome import Failed
from asynq.protocol.answers import is_final, may_be_applied
from asynq.protocol.ops import Archive, Retry
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
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
"""Maximum number of settlements per request."""
MAX_FALLBACK_ERROR = 200
"""Maximum number of characters of an error message, if the broker refuses the full message."""
SETTLE_TIMEOUT = 5.0
"""Seconds that a shutdown waits for the broker to confirm settlements."""


@define(eq=False)
class ActiveTask:
    """A task that this worker runs or has to settle."""

    delivery: Delivery
    run: Run | None = None
    outcome: Outcome | None = None
    maybe_landed: bool = False
    """Whether a settlement may have been recorded: its reply was lost, or too few replicas confirmed."""

    def clear(self) -> None:
        """Drop the references to the run and its error, whose frames may reference this object."""
        self.run = self.outcome = None

    @property
    def context(self) -> Context | None:
        """The context of the run. None if the task was never run."""
        return self.run.context if self.run else None


class Settler:
    """The pending settlements of a processor. Belongs to the processor's event loop.

    Args:
        settings: the settings of the processor.
        active: the active tasks of the processor. A task is removed, and its lease released, when its
            settlement is recorded or finally refused.
        keeper: extends the leases meanwhile.
        hooks: called when a settlement is recorded.
        wake: called when there is a settlement to send.
        report: called when a run gets another outcome because the broker refused the first one.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        active: dict[Lease, ActiveTask],
        keeper: LeaseKeeper,
        hooks: Hooks,
        wake: Callable[[], None],
        report: Callable[[ActiveTask, Settlement, Outcome], None],
    ) -> None:
        self._settings = settings
        self._active = active
        self._keeper = keeper
        self._hooks = hooks
        self._wake = wake
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(settings.rng)
        self._errors = ErrorReporter(log, "settling tasks")
        self._ready: list[Settlement] = []
        self._delayed = 0

    def add(self, op: Settlement) -> None:
        """Add a settlement to be sent."""
        self._ready.append(op)
        self._wake()

    def take(self) -> list[Settlement]:
        """Remove and return the settlements to send now."""
        taken, self._ready = self._ready[:MAX_SETTLEMENTS], self._ready[MAX_SETTLEMENTS:]
        return taken

    def handle_answers(self, settlements: Sequence[Settlement], answers: Sequence[AsynqError | None]) -> bool:
        """Process the replies to settlements. Returns whether a queue with a shared limit has room again."""
        room = False
        landed: list[Lease] = []
        again: list[Settlement] = []
        for op, answer in zip(settlements, answers, strict=True):
            lease = op.delivery.lease
            if answer is None:
                landed.append(lease)
                room |= lease.queue in self._settings.limits.shared
                self._recorded(op)
            elif isinstance(answer, LeaseLostError):
                landed.append(lease)
                maybe_landed = answer.maybe_applied or self._active[lease].maybe_landed
                log_not_recorded(op, answer, maybe_landed=maybe_landed)
                if maybe_landed:
                    self._recorded(op)
            elif is_final(answer):
                self._active[lease].maybe_landed |= may_be_applied(answer)
                if not self._fall_back(op, answer):
                    landed.append(lease)
            else:
                self._errors.failed(answer)
                self._active[lease].maybe_landed |= may_be_applied(answer)
                again.append(op)
        self.release(landed)
        if again:
            self._retry_later(again)
        elif settlements and not self._delayed:
            self._errors.worked()
            self._backoff.reset()
        return room

    def release(self, leases: Sequence[Lease]) -> None:
        """Remove these tasks from the active tasks and release their leases."""
        if leases:
            for lease in leases:
                if active := self._active.pop(lease, None):
                    active.clear()
            self._keeper.release(leases)

    def _recorded(self, op: Settlement) -> None:
        log_put_back(op)
        active = self._active[op.delivery.lease]
        self._hooks.settled(op, active.outcome, active.context)
        if isinstance(op, Retry):
            self._settings.retried(op.delivery.message.queue)

    def _fall_back(self, op: Settlement, refusal: AsynqError) -> bool:
        """Replace a settlement that the broker finally refused. Returns False if there is no replacement."""
        message = op.delivery.message
        if isinstance(op, Retry | Archive) and len(op.error) > MAX_FALLBACK_ERROR:
            self.add(replace(op, error=op.error[: MAX_FALLBACK_ERROR - 1] + "…"))
            return True
        if isinstance(op, Archive):
            log.error("task %r of queue %r cannot be settled: %s", message.id, message.queue, refusal)
            return False
        active, outcome = self._active[op.delivery.lease], Failed(refusal)
        archive = Archive(delivery=op.delivery, error=error_text(refusal))
        active.outcome = outcome
        self.add(archive)
        self._report(active, archive, outcome)
        return True

    def _retry_later(self, ops: list[Settlement]) -> None:
        seconds = SETTLE_TIMEOUT + self._settings.lease / 1000
        self._keeper.hold({op.delivery.lease: seconds for op in ops})
        self._delayed += 1
        self._loop.call_later(self._backoff.pause(), self._queue_again, ops)

    def _queue_again(self, ops: list[Settlement]) -> None:
        self._delayed -= 1
        self._ready += ops
        self._wake()
