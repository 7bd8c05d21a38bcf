"""UnservedQueues: warns of tasks that wait in queues that no server serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError
from asynq.protocol.ops import GetQueueStats, ListQueues, ListServers
from asynq.runtime.logs import get_logger
from asynq.runtime.short_texts import plural
from asynq.worker.queue_patterns import records

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        serves: returns whether this server serves a queue.
    """

    def __init__(self, broker: Broker, serves: Callable[[str], bool]) -> None:
        self._broker = broker
        self._serves = serves
        self._started = False
        self._reported: set[str] = set()

    async def step(self) -> float:
        """Check once, but not at the first step. Returns the seconds until the next check."""
        if not self._started:
            self._started = True
            return FIRST_CHECK
        listed = await self._broker.aexecute(ListQueues())
        others = {queue for queue in listed if not self._serves(queue)} - self._reported
        if others:
            servers = await self._broker.aexecute(ListServers())
            for served in (server.queues for server in servers):
                others = {queue for queue in others if not records(served, queue)}
            await self._check(sorted(others))
        return CHECK_INTERVAL

    async def _check(self, queues: Sequence[str]) -> None:
        ops = [GetQueueStats(queue=queue) for queue in queues[:MAX_CHECKED]]
        for stats in await self._broker.aexecute_many(ops):
            if isinstance(stats, AsynqError) or not stats.pending:
                continue
            self._reported.add(stats.queue)
            log.warning(
                "no running server serves queue %r, which has %s: "
                "start a worker with --queue %s, or add it to the queues of a server",
                stats.queue,
                plural(stats.pending, "pending task"),
                stats.queue,
            )
