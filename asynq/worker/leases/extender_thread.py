"""ExtenderThread: extends leases in a thread, so that a blocked event loop does not lose them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import BlockingCalls, completed
from asynq.worker.leases.extension_schedule import ExtensionSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asynq.errors import AsynqError
    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Extended, ExtendLease
    from asynq.worker.leases.extension_schedule import LeaseEvent
    from asynq.worker.leases.held_leases import Holding

log = get_logger("asynq.leases")

MAX_EXTENSIONS = 200
"""Maximum number of extensions per request."""
CHECKS_PER_EXTENSION = 4
"""How often the thread checks for due extensions between two extensions of one lease."""


class ExtenderThread:
    """Extends leases until they are released, lost, or past their end, with the broker's blocking methods.

    Args:
        broker: the broker.
        duration: duration of the leases, in milliseconds.
        read: returns the leases that are held now. Called on the thread.
        notify: called on the thread with each event.
        enabled: whether to send extensions now.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        broker: Broker,
        duration: int,
        read: Callable[[], Iterable[Holding]],
        notify: Callable[[LeaseEvent], None],
        *,
        enabled: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = BlockingCalls(broker)
        self._schedule = ExtensionSchedule(duration)
        self._read = read
        self._notify = notify
        self._enabled = enabled
        self._monotonic = monotonic
        self._closed = threading.Event()
        self._errors = ErrorReporter(log, "extending leases")
        self._thread = threading.Thread(target=self._run, name="asynq-leases", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop sending extensions. Does not wait for a request in progress."""
        self._closed.set()

    def tick(self) -> None:
        """Send the extensions that are due."""
        if not self._enabled():
            return
        self._schedule.update(self._read())
        due = self._schedule.due(self._monotonic())
        for start in range(0, len(due), MAX_EXTENSIONS):
            if self._closed.is_set() or not self._extend(due[start : start + MAX_EXTENSIONS]):
                return

    def _extend(self, ops: Sequence[ExtendLease]) -> bool:
        sent_at = self._monotonic()
        try:
            answers: Sequence[Extended | AsynqError] = completed(execute_isolated(self._calls, ops))
        except BrokerUnavailable as error:
            self._errors.failed(error)
            return False
        events, retryable = self._schedule.handle_answers(ops, answers, sent_at)
        if retryable is None:
            self._errors.worked()
        else:
            self._errors.failed(retryable)
        for event in events:
            self._notify(event)
        return True

    def _run(self) -> None:
        while not self._closed.wait(self._schedule.renewal / CHECKS_PER_EXTENSION):
            try:
                self.tick()
            except Exception:
                log.exception("extending leases raised an unexpected error, retrying")
