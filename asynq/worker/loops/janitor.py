"""Janitor: deletes completed tasks after their retention, and old tasks of the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops import MAX_BATCH, PurgeCompleted, TrimArchive
from asynq.worker.loops.queue_sweep import QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op

INTERVAL = 30.0
"""Seconds between two steps."""


class Janitor:
    """Each step deletes all tasks that are due for deletion, in bounded batches."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._rotation = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "cleaning up")

    async def step(self) -> float | None:
        """Purge completed tasks and trim the archives."""
        queues = self._rotation.take()
        await self._repeat(queues, lambda queue: PurgeCompleted(queue=queue))
        await self._repeat(queues, lambda queue: TrimArchive(queue=queue))
        return None

    async def _repeat(self, waiting: Sequence[str], op: Callable[[str], Op[int]]) -> None:
        while waiting:
            deleted = await self._sweep.run({queue: op(queue) for queue in waiting})
            waiting = [queue for queue, count in deleted.items() if count >= MAX_BATCH]
