"""Fetcher: composes the fetches of a worker, and repeats those whose reply was lost."""

from __future__ import annotations

import asyncio
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from attrs import define

from asynq.protocol.answers import may_be_applied
from asynq.protocol.ops import DEQUEUE_SOFT_LIMIT_BYTES, Dequeue
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger
from asynq.worker.pending_queues import PendingQueues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from asynq.errors import AsynqError
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import Delivery
    from asynq.worker.settings import ProcessorSettings

log = get_logger("asynq.processor")

_LOST = attrgetter("lost")

SUSPECT_INTERVAL = 0.1
"""Seconds after which a worker that does not hear of new tasks supposes that any queue may have some."""
SUSPECT_PER_QUEUE = 0.0003
"""The same for each queue, if that is more: to find out that queues have none takes time."""


@define(eq=False)
class Fetch:
    """A fetch without a reply."""

    op: Dequeue
    sent_at: float
    """When it was sent first, by the clock of the event loop."""
    mark: int
    """When it was sent first, see BrokerTime."""
    partial: bool
    """Whether other queues may have had tasks, too."""
    lost: bool = False
    """Whether its reply was lost: it is sent again."""


class Fetcher:
    """The fetches of a processor. Belongs to the processor's event loop.

    Each fetch has its own token and is repeated with this token until its reply arrives, so that the tasks of
    a fetch whose reply was lost still run here.

    Args:
        settings: the settings of the processor.
        time: the broker's time.
        token: creates tokens.
    """

    def __init__(self, settings: ProcessorSettings, *, time: BrokerTime, token: Callable[[], str]) -> None:
        self.wanted = True
        """Whether there may be tasks that no fetch has asked for."""
        self.full = False
        """Whether the latest reply had all tasks that the fetch asked for."""
        self.not_before = 0.0
        """When the next fetch may be sent, by the clock of the event loop. Failures cause pauses."""
        self._settings = settings
        self._time = time
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(settings.rng)
        self._errors = ErrorReporter(log, "fetching tasks")
        self._pending = PendingQueues(settings.queues.preference, settings.queues.limits, settings.rng)
        self._suspect_at = 0.0
        self._fetches: list[Fetch] = []
        self.reserved = 0
        """Number of tasks that the fetches without a reply may return."""

    @property
    def under_way(self) -> bool:
        """Whether a fetch has no reply yet."""
        return bool(self._fetches)

    @property
    def asking(self) -> bool:
        """Whether the broker has a fetch that it has not answered, apart from those whose reply was lost."""
        return not all(map(_LOST, self._fetches))

    def queues_changed(self) -> None:
        """Fetch from the present queues of the settings."""
        queues = self._settings.queues
        self._pending.serve(queues.preference, queues.limits)
        self.wanted = True

    def want(self, queue: str | None) -> None:
        """Tasks may be available in this queue. None: in any queue."""
        self._pending.mark(queue)
        self.wanted = True

    def take_lost(self) -> Fetch | None:
        """A fetch to be sent again."""
        for fetch in self._fetches:
            if fetch.lost:
                # Not a new fetch: what was wanted meanwhile, perhaps of other queues, is still wanted.
                fetch.lost = False
                return fetch
        return None

    def take(self, count: int, running: Iterable[str], *, informed: bool) -> Fetch | None:
        """A new fetch. None if no queue may have tasks.

        Args:
            count: number of wanted tasks.
            running: the queue of each run of this server.
            informed: whether `want` is called for every queue that gets tasks.
        """
        if not (self.wanted or self._fetches):
            return None
        for other in self._fetches:
            # There is a second fetch only while fetches return all that they ask for: its queues have more.
            self._pending.found_all(other.op.orders)
            running = chain(running, (queue for order in other.op.orders for queue in order))
        now = self._loop.time()
        if not informed and now >= self._suspect_at:
            served = len(self._settings.queues.preference.weights)
            self._suspect_at = now + max(SUSPECT_INTERVAL, SUSPECT_PER_QUEUE * served)
            self._pending.suspect()
        orders = self._pending.orders(count, running)
        if not orders:
            return None
        self.wanted = False
        settings = self._settings
        op = Dequeue(
            orders=orders,
            token=self._token(),
            lease=settings.lease,
            limits=settings.queues.limits.shared,
            since=settings.since,
        )
        fetch = Fetch(op, now, self._time.mark(), self._pending.more)
        self._fetches.append(fetch)
        self.reserved += len(orders)
        return fetch

    def failed(self, fetch: Fetch, error: AsynqError) -> None:
        """The broker did not answer."""
        self._errors.failed(error)
        if may_be_applied(error):
            fetch.lost = True
        else:
            self._remove(fetch)
        self._pending.found_all(fetch.op.orders)
        self.wanted = True
        self.not_before = self._loop.time() + self._backoff.pause()

    def succeeded(self, fetch: Fetch, deliveries: Sequence[Delivery]) -> bool:
        """The reply arrived. Returns whether there may be more tasks: in the queues asked, or in others."""
        self._errors.worked()
        self._backoff.reset()
        self._remove(fetch)
        orders = fetch.op.orders
        self.full = len(deliveries) == len(orders)
        # A limited queue may have been left out of an order although it has tasks: fetch until none is left.
        self.wanted |= bool(deliveries and self._settings.queues.limits.own)
        if again := self.full or _cut_short(deliveries):
            self._pending.found_all(orders)
        self.wanted |= again or self._pending.more
        return self.full or fetch.partial

    def _remove(self, fetch: Fetch) -> None:
        self._fetches.remove(fetch)
        self.reserved -= len(fetch.op.orders)


def _cut_short(deliveries: Sequence[Delivery]) -> bool:
    """Whether large tasks may have been left for the next fetch, to keep the reply small."""
    return sum([len(delivery.message.payload) for delivery in deliveries]) >= DEQUEUE_SOFT_LIMIT_BYTES
