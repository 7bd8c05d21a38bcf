"""IdleReasons: tells at debug level why a server takes no task."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from asynq.errors import AsynqError, QueueNotFoundError
from asynq.protocol.ops import GetQueueStats
from asynq.runtime.logs import get_logger
from asynq.runtime.short_texts import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.handlers.run import Run
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import QueueStats
    from asynq.worker.served_queues import ServedQueues

log = get_logger("asynq.worker")

CHECK_INTERVAL = 2.0
"""Seconds between two checks, while the level is debug."""
MAX_CHECKED = 20
"""Maximum number of queues that are described."""


class IdleReasons:
    """Reads the server's queues at each step, and logs why none of them yields a task when that changes.

    Args:
        broker: the broker.
        concurrency: the slots of the server.
        served: the queues of the server.
        runs: returns the current runs.
        stopped: returns whether the server was told to take no more tasks.
    """

    def __init__(
        self,
        broker: Broker,
        concurrency: int,
        served: ServedQueues,
        *,
        runs: Callable[[], Sequence[Run]],
        stopped: Callable[[], bool],
    ) -> None:
        self._broker = broker
        self._concurrency = concurrency
        self._served = served
        self._runs = runs
        self._stopped = stopped
        self._told = ""

    async def step(self) -> float:
        """Check once, if the level is debug. Returns the seconds until the next check."""
        if log.isEnabledFor(logging.DEBUG):
            reason = await self._reason()
            if reason and reason != self._told:
                log.debug("no task is taken: %s", reason)
            self._told = reason
        return CHECK_INTERVAL

    async def _reason(self) -> str:
        """Why no task is taken; empty if a queue has tasks that will be."""
        if self._stopped():
            return "the server was told to stop taking tasks"
        runs = self._runs()
        if len(runs) >= self._concurrency:
            return (
                f"no free slot: {plural(len(runs), 'running task')}, the concurrency is {self._concurrency}"
            )
        names = self._served
        if not names:
            return "no queue matches the patterns"
        ops = [GetQueueStats(queue=queue) for queue in names[:MAX_CHECKED]]
        running = Counter(run.delivery.message.queue for run in runs)
        reasons = []
        for queue, stats in zip(names, await self._broker.aexecute_many(ops), strict=False):
            reason = self._reason_of(queue, stats, running)
            if reason is None:
                return ""
            reasons.append(f"queue {queue!r} {reason}")
        if len(names) > MAX_CHECKED:
            reasons.append(f"{len(names) - MAX_CHECKED} more queues were not looked at")
        return "; ".join(reasons)

    def _reason_of(
        self, queue: str, stats: QueueStats | AsynqError, running: Mapping[str, int]
    ) -> str | None:
        """Why a queue yields no task; None if it does."""
        limits = self._served.limits
        if isinstance(stats, QueueNotFoundError):
            return "does not exist yet"
        if isinstance(stats, AsynqError):
            return f"cannot be read ({stats})"
        if stats.paused:
            return f"is paused ({stats.pending} pending)"
        if not stats.pending:
            later = {"scheduled": stats.scheduled, "to retry": stats.retry, "in groups": stats.aggregating}
            counts = ", ".join(f"{count} {what}" for what, count in later.items() if count)
            return f"has no pending tasks ({counts})" if counts else "is empty"
        if running.get(queue, 0) >= limits.own.get(queue, stats.pending + len(running) + 1):
            return f"is at its limit of {limits.own[queue]} in this server ({stats.pending} pending)"
        if queue in limits.shared and stats.active >= limits.shared[queue]:
            return f"is at its shared limit of {limits.shared[queue]} ({stats.pending} pending)"
        return None
