"""Extends leases on a thread of its own, over the broker's plain face."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.runtime.backoff import ErrorReporter
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import BlockingCalls, completed
from asynq.worker.leases.extension_schedule import ExtensionSchedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asynq.errors import AsynqError
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Lease
    from asynq.protocol.ops import Extended, ExtendLease
    from asynq.worker.leases.extension_schedule import LeaseEvent

log = get_logger("asynq.leases")

MAX_EXTENSIONS = 200
"""Most extensions sent at once."""
CHECKS_PER_EXTENSION = 4
"""How often the thread looks for due extensions between two extensions of one lease."""


class Extender:
    """Holds leases until they are released, lost, or past their end."""

    def __init__(
        self,
        broker: Broker,
        duration: int,
        notify: Callable[[LeaseEvent], None],
        *,
        permitted: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`duration` in milliseconds; `notify` on the thread; nothing is sent unless `permitted`."""
        self._calls = BlockingCalls(broker)
        self._book = ExtensionSchedule(duration)
        self._notify = notify
        self._permitted = permitted
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._troubles = ErrorReporter(log, "extending leases")
        self._thread = threading.Thread(target=self._run, name="asynq-leases", daemon=True)

    def start(self) -> None:
        """Begin to look for due extensions."""
        self._thread.start()

    def hold(self, holds: Mapping[Lease, float], now: float) -> None:
        """Extend these leases, taken or extended just `now`, while held; each at most for so many seconds."""
        with self._lock:
            for lease, seconds in holds.items():
                self._book.hold(lease, now + seconds, now)

    def release(self, leases: Iterable[Lease]) -> None:
        """Leave these leases alone."""
        with self._lock:
            for lease in leases:
                self._book.release(lease)

    def held(self, now: float) -> dict[Lease, float]:
        """Every held lease, and for how many seconds at most."""
        with self._lock:
            return dict(self._book.held(now))

    def close(self) -> None:
        """Send nothing more. An extension under way is not waited for."""
        self._closed.set()

    def tick(self) -> None:
        """Extend what is due."""
        if not self._permitted():
            return
        with self._lock:
            due = self._book.due(self._monotonic())
        for start in range(0, len(due), MAX_EXTENSIONS):
            if self._closed.is_set() or not self._extend(due[start : start + MAX_EXTENSIONS]):
                return

    def _extend(self, ops: Sequence[ExtendLease]) -> bool:
        sent_at = self._monotonic()
        try:
            answers: Sequence[Extended | AsynqError] = completed(execute_isolated(self._calls, ops))
        except BrokerUnavailable as error:
            self._troubles.failed(error)
            return False
        with self._lock:
            events, trouble = self._book.answered(ops, answers, sent_at)
        if trouble is None:
            self._troubles.worked()
        else:
            self._troubles.failed(trouble)
        for event in events:
            self._notify(event)
        return True

    def _run(self) -> None:
        while not self._closed.wait(self._book.renewal / CHECKS_PER_EXTENSION):
            try:
                self.tick()
            except Exception:
                log.exception("extending leases failed; it will be tried again")
