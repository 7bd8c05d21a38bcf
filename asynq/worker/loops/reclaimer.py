"""Brings back groups whose aggregation was lost, and groups that nobody lists or serves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from asynq.protocol.ops import MAX_BATCH, ListGroups, ReclaimAggregations, RepairGroups
from asynq.runtime.logs import get_logger
from asynq.worker.loops.queue_sweep import MAX_QUEUES_PER_STEP, QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker

log = get_logger("asynq.loops")


class Reclaimer:
    """Each step returns the sets whose server is gone to their groups."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._turns = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "reclaiming lost aggregations")

    async def step(self) -> float | None:
        """Reclaim every overdue set of the queues."""
        waiting = self._turns.take()
        while waiting:
            reclaimed = await self._sweep.run({queue: ReclaimAggregations(queue=queue) for queue in waiting})
            for queue, count in reclaimed.items():
                if count:
                    log.warning("queue %r: %d lost aggregations are back in their groups", queue, count)
            waiting = [queue for queue, count in reclaimed.items() if count >= MAX_BATCH]
        return None


class GroupRepairer:
    """Each step looks through a part of the store for groups that hold tasks but are not listed.

    Looking through all of it, a little at a time, is the only way to find what Go peers leave behind.
    """

    PART_INTERVAL = 1.0
    """Seconds between two parts."""
    CYCLE_INTERVAL = 300.0
    """Seconds until it begins again."""

    def __init__(self, broker: Broker, queues: Sequence[str], *, attended: bool) -> None:
        """`attended`: whether this server aggregates; where it does not, groups are worth a warning."""
        self._sweep = QueueSweep(broker, "looking for unlisted groups")
        self._queues = queues
        self._cursors = dict.fromkeys(queues, "")
        self._unwarned = set[str]() if attended else set(queues)

    async def step(self) -> float | None:
        """Look through the next part; seconds until the one after."""
        part = dict(islice(self._cursors.items(), MAX_QUEUES_PER_STEP))
        answers = await self._sweep.run(
            {queue: RepairGroups(queue=queue, cursor=cursor) for queue, cursor in part.items()}
        )
        for queue, answer in answers.items():
            if answer.listed:
                log.warning("queue %r: %d groups were not listed and are now", queue, answer.listed)
        for queue in part:
            del self._cursors[queue]
        self._cursors |= {queue: answer.cursor for queue, answer in answers.items() if answer.cursor}
        if self._cursors:
            return self.PART_INTERVAL
        self._cursors = dict.fromkeys(self._queues, "")
        await self._warn()
        return self.CYCLE_INTERVAL

    async def _warn(self) -> None:
        pages = await self._sweep.run({queue: ListGroups(queue=queue) for queue in self._unwarned})
        for queue, page in pages.items():
            if page.groups:
                self._unwarned.discard(queue)
                log.warning(
                    "queue %r has groups, such as %r, and this server has no aggregator: unless another has, "
                    "their tasks wait for ever",
                    queue,
                    page.groups[0].name,
                )
