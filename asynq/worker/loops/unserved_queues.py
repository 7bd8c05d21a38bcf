"""UnservedQueues: warns of tasks that wait in queues that no server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq.protocol.ops import GetQueueStats, ListQueues, ListServers
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker

log = get_logger("asynq.worker")

FIRST_CHECK = 10.0
"""Seconds until the first check. Servers that start at the same time have told of themselves by then."""
CHECK_INTERVAL = 300.0
MAX_CHECKED = 20
"""Maximum number of queues whose tasks are counted in a check."""


class UnservedQueues:
    """Looks for such queues at each step, and warns once of each. A mistyped name is the usual cause.

    Args:
        broker: the broker. It must support ListServers.
        served: the queues that this server serves.
    """

    def __init__(self, broker: Broker, served: Sequence[str]) -> None:
        self._broker = broker
        self._served = served
        self._started = False
        self._reported: set[str] = set()

    async def step(self) -> float:
        """Check once, but not at the first step. Returns the seconds until the next check."""
        if not self._started:
            self._started = True
            return FIRST_CHECK
        others = set(await self._broker.aexecute(ListQueues())).difference(self._served, self._reported)
        if others:
            servers = await self._broker.aexecute(ListServers())
            await self._check(sorted(others.difference(*(server.queues for server in servers))))
        return CHECK_INTERVAL

    async def _check(self, queues: Sequence[str]) -> None:
        ops = [GetQueueStats(queue=queue) for queue in queues[:MAX_CHECKED]]
        for stats in await self._broker.aexecute_many(ops):
            if isinstance(stats, AsynqError) or not stats.pending:
                continue
            self._reported.add(stats.queue)
            log.warning(
                "%d tasks wait in queue %r, which no running server serves: "
                "start a worker with --queue %s, or add it to the queues of a server",
                stats.pending,
                stats.queue,
                stats.queue,
            )
