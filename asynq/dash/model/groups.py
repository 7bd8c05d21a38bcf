"""Reads a queue with its groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.info import QueueInfo
from asynq.protocol.answers import unwrap
from asynq.protocol.ops import GetQueueStats, ListGroups

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker
    from asynq.protocol.groups import GroupInfo
    from asynq.protocol.ops import Op

MAX_GROUPS = 2_000
"""Groups after which no more are read."""


async def read_queue(broker: Broker, queue: str) -> QueueInfo:
    """A queue without its memory, in one round trip. QueueNotFoundError."""
    return QueueInfo.of(await broker.aexecute(GetQueueStats(queue=queue)), None)


async def read_groups(broker: Broker, queue: str) -> tuple[QueueInfo, list[GroupInfo]]:
    """A queue and its groups: one round trip, and more while there are further groups. QueueNotFoundError."""
    operations: list[Op[Any]] = [GetQueueStats(queue=queue), ListGroups(queue=queue)]
    stats, page = map(unwrap, await broker.aexecute_many(operations))
    groups = {each.name: each for each in page.groups}
    while page.cursor and len(groups) < MAX_GROUPS:
        page = await broker.aexecute(ListGroups(queue=queue, cursor=page.cursor))
        groups |= {each.name: each for each in page.groups}
    return QueueInfo.of(stats, None), list(groups.values())
