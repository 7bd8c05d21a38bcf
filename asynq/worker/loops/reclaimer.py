"""Reclaimer: returns lost aggregation sets to their groups. GroupRepairer: finds unlisted groups."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from asynq.protocol.ops import MAX_BATCH, ListGroups, ReclaimAggregations, RepairGroups
from asynq.runtime.logs import get_logger
from asynq.runtime.short_texts import plural
from asynq.worker.loops.queue_sweep import MAX_QUEUES_PER_STEP, QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker

log = get_logger("asynq.loops")


class Reclaimer:
    """Each step returns the aggregation sets of lost servers to their groups."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._rotation = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "reclaiming lost aggregations")

    async def step(self) -> float | None:
        """Reclaim all expired sets."""
        waiting = self._rotation.take()
        while waiting:
            reclaimed = await self._sweep.run({queue: ReclaimAggregations(queue=queue) for queue in waiting})
            for queue, count in reclaimed.items():
                if count:
                    log.warning("queue %r: %d lost aggregations were returned to their groups", queue, count)
            waiting = [queue for queue, count in reclaimed.items() if count >= MAX_BATCH]
        return None


class GroupRepairer:
    """Each step searches a part of the store for groups that contain tasks but are not listed.

    Servers in Go can leave such groups. They can only be found by searching the whole store.

    Args:
        broker: the broker.
        queues: the queues of the server.
        aggregates: whether this server aggregates groups. If not, groups cause a warning.
    """

    PART_INTERVAL = 1.0
    """Seconds between two parts."""
    CYCLE_INTERVAL = 300.0
    """Seconds until the next complete search."""

    def __init__(self, broker: Broker, queues: Sequence[str], *, aggregates: bool) -> None:
        self._sweep = QueueSweep(broker, "looking for unlisted groups")
        self._queues = queues
        self._aggregates = aggregates
        self._cursors = dict.fromkeys(queues, "")
        self._warned = set[str]()

    async def step(self) -> float | None:
        """Search the next part. Returns the seconds until the part after it."""
        part = dict(islice(self._cursors.items(), MAX_QUEUES_PER_STEP))
        answers = await self._sweep.run(
            {queue: RepairGroups(queue=queue, cursor=cursor) for queue, cursor in part.items()}
        )
        for queue, answer in answers.items():
            if answer.listed:
                log.warning(
                    "queue %r: listed %s that had been missing from the list",
                    queue,
                    plural(answer.listed, "group"),
                )
        for queue in part:
            del self._cursors[queue]
        self._cursors |= {queue: answer.cursor for queue, answer in answers.items() if answer.cursor}
        if self._cursors or not self._queues:
            return self.PART_INTERVAL
        self._cursors = dict.fromkeys(self._queues, "")
        if not self._aggregates:
            await self._warn()
        return self.CYCLE_INTERVAL

    async def _warn(self) -> None:
        unwarned = [queue for queue in self._queues if queue not in self._warned]
        pages = await self._sweep.run({queue: ListGroups(queue=queue) for queue in unwarned})
        for queue, page in pages.items():
            if page.groups:
                self._warned.add(queue)
                log.warning(
                    "queue %r has groups, such as %r, and this server has no aggregator: "
                    "their tasks are not processed unless another server aggregates them",
                    queue,
                    page.groups[0].name,
                )
