"""Burst: ends a server when its queues have nothing left to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.ops import GetQueueStats, ListTasks
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.run import Run
    from asynq.protocol.broker import Broker
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import QueueStats
    from asynq.worker.served_queues import ServedQueues

CHECK_INTERVAL = 0.2
"""Seconds between two checks."""
CHECKS = 2
"""Checks in a row that must find nothing: what was being fetched at the first one runs at the second."""


class Burst:
    """Looks at the queues at each step, and calls `finish` once nothing is left.

    Left are pending tasks of queues that are not paused, scheduled and retried tasks that are due, tasks in
    groups if this server aggregates, and its own runs. Tasks that are due later are not waited for, nor those
    that other servers run. Something may be left in a queue that cannot be reached.

    Args:
        broker: the broker.
        served: the queues to serve.
        runs: returns the current runs.
        time: the broker's time.
        aggregates: whether this server aggregates groups.
        finish: called when nothing is left.
    """

    def __init__(
        self,
        broker: Broker,
        served: ServedQueues,
        *,
        runs: Callable[[], Sequence[Run]],
        time: BrokerTime,
        aggregates: bool,
        finish: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._served = served
        self._runs = runs
        self._time = time
        self._aggregates = aggregates
        self._finish = finish
        self._found_nothing = 0

    async def step(self) -> float:
        """Check once. Returns the seconds until the next check."""
        self._found_nothing = 0 if await self._something_left() else self._found_nothing + 1
        if self._found_nothing == CHECKS:
            self._finish()
        return CHECK_INTERVAL

    async def _something_left(self) -> bool:
        if self._runs() or not self._served.settled:
            return True
        answers = await self._broker.aexecute_many([GetQueueStats(queue=queue) for queue in self._served])
        if any(isinstance(stats, BrokerUnavailable) for stats in answers):
            return True
        # A queue that does not exist yet has nothing to do.
        found = [stats for stats in answers if not isinstance(stats, AsynqError) and not stats.paused]
        if any(stats.pending or (self._aggregates and stats.aggregating) for stats in found):
            return True
        return await self._something_due(found)

    async def _something_due(self, found: Sequence[QueueStats]) -> bool:
        first = [
            ListTasks(queue=stats.queue, state=state, limit=1)
            for stats in found
            for state in (TaskState.SCHEDULED, TaskState.RETRY)
            if getattr(stats, state.value)
        ]
        if not first:
            return False
        await self._time.sync(self._broker)
        now = self._time.now()
        answers = await self._broker.aexecute_many(first)
        if any(isinstance(tasks, BrokerUnavailable) for tasks in answers):
            return True
        return any(
            task.due_at <= now for tasks in answers if not isinstance(tasks, AsynqError) for task in tasks
        )
