"""Lets the next task of a sequence run after a task that no worker of ours settled, such as a Go worker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops import AdvanceSequences
from asynq.worker.loops.queue_sweep import QueueRotation, QueueSweep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker

INTERVAL = 30.0
"""Seconds between two steps while the queues have no sequences."""
BUSY_INTERVAL = 5.0
"""Seconds between two steps while they have some."""


class SequenceAdvancer:
    """Each step examines all sequences of the queues. Returns the seconds until the next step."""

    def __init__(self, broker: Broker, queues: Sequence[str]) -> None:
        self._rotation = QueueRotation(queues)
        self._sweep = QueueSweep(broker, "advancing sequences")

    async def step(self) -> float | None:
        """Promote the next task of each sequence whose head has ended."""
        cursors = dict.fromkeys(self._rotation.take(), "")
        busy = False
        while cursors:
            answers = await self._sweep.run(
                {queue: AdvanceSequences(queue=queue, cursor=cursor) for queue, cursor in cursors.items()}
            )
            busy = busy or any(answer.examined for answer in answers.values())
            cursors = {queue: answer.cursor for queue, answer in answers.items() if answer.cursor}
        return BUSY_INTERVAL if busy else None
