"""Settler: retries settlements until the broker confirms or finally refuses them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from asynq.errors import AsynqError, LeaseLostError
from asynq.errors.text import error_text
from asynq.handlers.outcome import Failed
from asynq.protocol.answers import is_final, may_be_applied
from asynq.protocol.followers import is_parent
from asynq.protocol.ops import Archive, Complete, Done, Requeue, Retry
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger
from asynq.worker.failure_log import log_not_recorded, log_put_back

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.hooks import Hooks
    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.handlers.run import Run
    from asynq.worker.leases.keeper import LeaseKeeper
    from asynq.worker.settings import ProcessorSettings

log = get_logger("asynq.processor")

MAX_SETTLEMENTS = 200
"""Maximum number of settlements per request."""
MAX_FALLBACK_ERROR = 200
"""Maximum number of characters of an error message, if the broker refuses the full message."""
SETTLE_TIMEOUT = 5.0
"""Seconds that a shutdown waits for the broker to confirm settlements."""


class Ending(Struct, eq=False):
    """How a run is settled."""

    run: Run
    op: Settlement
    outcome: Outcome | None
    """None if the task was not run."""
    maybe_landed: bool = False
    """Whether a settlement may have been recorded: its reply was lost, or too few replicas confirmed."""


class Settler:
    """The pending settlements of a processor. Belongs to the processor's event loop.

    Args:
        settings: the settings of the processor.
        active: the active runs of the processor. A run is removed, and its lease released, when its
            settlement is recorded or finally refused.
        keeper: extends the leases meanwhile.
        hooks: called when a settlement is recorded.
        wake: called when there are settlements to send again.
        report: called when a run gets another outcome because the broker refused the first one.
    """

    def __init__(
        self,
        settings: ProcessorSettings,
        *,
        active: set[Run],
        keeper: LeaseKeeper,
        hooks: Hooks,
        wake: Callable[[], None],
        report: Callable[[Run, Settlement, Outcome], None],
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
        self._ready: list[Ending] = []
        self._delayed = 0

    def add(self, ending: Ending) -> None:
        """Add a settlement, to be sent with the next request."""
        self._ready.append(ending)

    @property
    def waiting(self) -> int:
        """Number of settlements to send now."""
        return len(self._ready)

    def take(self, most: int = MAX_SETTLEMENTS) -> list[Ending]:
        """Remove and return the settlements to send now, at most so many."""
        taken, self._ready = self._ready[:most], self._ready[most:]
        return taken

    def handle_answers(self, endings: Sequence[Ending], answers: Sequence[AsynqError | None]) -> bool:
        """Process the replies to settlements. Returns whether a queue with a shared limit has room again."""
        landed: list[Run] = []
        again: list[Ending] = []
        shared, room = self._settings.queues.limits.shared, False
        for ending, answer in zip(endings, answers):  # noqa: B905 - it is slow
            if answer is None:
                landed.append(ending.run)
                if shared:
                    room |= ending.op.delivery.message.queue in shared
                self._recorded(ending)
            elif isinstance(answer, LeaseLostError):
                landed.append(ending.run)
                self._lease_lost(ending, answer)
            elif is_final(answer):
                ending.maybe_landed |= may_be_applied(answer)
                if not self._fall_back(ending, answer):
                    landed.append(ending.run)
            else:
                self._errors.failed(answer)
                ending.maybe_landed |= may_be_applied(answer)
                again.append(ending)
        self.release(landed)
        if again:
            self._retry_later(again)
        elif endings and not self._delayed:
            self._errors.worked()
            self._backoff.reset()
        return room

    def release(self, runs: Sequence[Run]) -> None:
        """Remove these runs from the active ones and release their leases."""
        if runs:
            self._active.difference_update(runs)
            self._keeper.release([run.lease for run in runs])
            for run in runs:
                run.release()

    def _lease_lost(self, ending: Ending, answer: LeaseLostError) -> None:
        maybe_landed = answer.maybe_applied or ending.maybe_landed
        log_not_recorded(ending.op, answer, maybe_landed=maybe_landed)
        if maybe_landed:
            self._recorded(ending)
        elif ending.outcome is not None:
            self._hooks.became(ending.op.delivery.message, "lease_lost")

    def _recorded(self, ending: Ending) -> None:
        op = ending.op
        if type(op) is Done and not self._hooks.heard:
            return  # as nearly always
        if isinstance(op, Requeue):
            log_put_back(op)
        elif isinstance(op, Retry):
            self._settings.retried(op.delivery.message.queue)
        elif isinstance(op, Complete) and is_parent(op.delivery.message):
            self._settings.parent_completed(op.delivery.message.queue)
        self._hooks.settled(op, ending.outcome, ending.run.context)

    def _fall_back(self, ending: Ending, refusal: AsynqError) -> bool:
        """Replace a settlement that the broker finally refused. Returns False if there is no replacement."""
        op, message = ending.op, ending.op.delivery.message
        if isinstance(op, Retry | Archive) and len(op.error) > MAX_FALLBACK_ERROR:
            shorter = replace(op, error=op.error[: MAX_FALLBACK_ERROR - 1] + "…")
            self.add(Ending(ending.run, shorter, ending.outcome, ending.maybe_landed))
            return True
        if isinstance(op, Archive):
            log.error("task %r of queue %r cannot be settled: %s", message.id, message.queue, refusal)
            self._hooks.became(message, "unrecorded")
            return False
        archive, outcome = Archive(delivery=op.delivery, error=error_text(refusal)), Failed(refusal)
        self.add(Ending(ending.run, archive, outcome, ending.maybe_landed))
        self._report(ending.run, archive, outcome)
        return True

    def _retry_later(self, endings: list[Ending]) -> None:
        seconds = SETTLE_TIMEOUT + self._settings.lease / 1000
        self._keeper.hold({ending.run.lease: seconds for ending in endings})
        self._delayed += 1
        self._loop.call_later(self._backoff.pause(), self._queue_again, endings)

    def _queue_again(self, endings: list[Ending]) -> None:
        self._delayed -= 1
        self._ready += endings
        self._wake()
