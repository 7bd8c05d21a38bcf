"""What each exchange of a worker with its broker carries: settlements, a fetch, or both. Performs no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from asynq.protocol.ops import MAX_BATCH
from asynq.worker.settler import MAX_SETTLEMENTS

if TYPE_CHECKING:
    from asynq.worker.settings import ProcessorSettings

EXCHANGES = 2
"""Maximum number of exchanges at the same time with a broker that carries out calls concurrently: while it
serves one, this process works for the other."""
MIN_SHARE = 2
"""Minimum number of runs that an exchange beside another one settles, and of tasks that it fetches. Smaller
ones cost both sides more than they gain."""
MIN_HALF = 12
"""Minimum number of slots in half of a worker whose halves are served in turn. An exchange costs too much by
itself for fewer tasks."""
MIN_LIMITED_HALF = 5
"""The same if a queue has a shared limit: its runs are settled before others are fetched, so that the
alternative is one exchange at a time."""


class Share(NamedTuple):
    """What an exchange carries at most."""

    settle: int
    fetch: int


class ExchangePlan:
    """Divides the work of a full worker, which has more tasks than slots, between two exchanges.

    A worker of many slots serves one half of them in each exchange. One of few slots fetches in one exchange
    and settles in the other, the fetch first: a slot is free when its handler has ended, and the handlers of
    the new tasks begin while the broker still settles. All others have one exchange at a time, for both.

    Args:
        settings: the settings of the processor.
        concurrent_calls: whether the broker carries out calls concurrently.
    """

    def __init__(self, settings: ProcessorSettings, *, concurrent_calls: bool) -> None:
        self._settings = settings
        self._share = min(settings.concurrency // 2, MAX_BATCH)
        self.most = EXCHANGES if concurrent_calls and self._share >= MIN_SHARE else 1
        """Maximum number of exchanges at the same time."""

    def next(
        self, exchanging: int, *, asking: bool, free: int, ended: int, active: int, full: bool
    ) -> Share | None:
        """What the next exchange carries at most. None: it must wait.

        Args:
            exchanging: number of exchanges under way.
            asking: whether one of them fetches.
            free: number of slots without a task.
            ended: number of runs to settle.
            active: number of runs that are not known to be settled, including those under way.
            full: whether there are more tasks than slots.
        """
        least = self._share
        # With a shared limit, only a settlement makes room for another task of the queue.
        limited = bool(self._settings.queues.limits.shared)
        if full and self.most > 1 and least >= (MIN_LIMITED_HALF if limited else MIN_HALF):
            # If one exchange settled all, the other would only fetch, and both replies would come together.
            return None if exchanging and max(free, ended) < least else Share(least, least)
        if full and self.most > 1 and not limited:
            if asking:
                return Share(MAX_SETTLEMENTS, MAX_BATCH if free >= least else 0) if ended >= least else None
            if free >= least and ended >= least:
                # A broker that takes longer to settle than to fetch must not be asked for ever more tasks.
                return Share(MAX_SETTLEMENTS if active > 2 * self._settings.concurrency else 0, MAX_BATCH)
        return None if exchanging else Share(MAX_SETTLEMENTS, MAX_BATCH)
