"""Groups of tasks that wait to be aggregated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.info import QueueInfo
from asynq.protocol.ops import GetQueueStats
from asynq.web.api.endpoint import endpoint
from asynq.web.api.queues import OneQueue
from asynq.web.api.shapes import Group, QueueSnapshot, group_of, queue_snapshot, utc_now

if TYPE_CHECKING:
    from asynq.web.call import WebCall

MAX_GROUPS = 1000
"""Groups of one answer."""


class Groups(Struct, kw_only=True):
    """The groups of a queue."""

    groups: list[Group]
    stats: QueueSnapshot
    complete: bool
    """False if there are more groups than one answer has."""


@endpoint("GET", "/queues/{queue}/groups", asked=OneQueue, answer=Groups)
async def list_groups(call: WebCall, asked: OneQueue) -> Groups:
    """The groups of a queue that hold tasks, largest first."""
    stats = await call.web.broker.aexecute(GetQueueStats(queue=asked.queue))
    found: dict[str, Group] = {}
    complete = True
    async for info in call.web.inspector.groups(asked.queue):
        if len(found) == MAX_GROUPS and info.name not in found:
            complete = False
            break
        found[info.name] = group_of(info)
    groups = sorted(found.values(), key=lambda group: (-group.size, group.group))
    return Groups(
        groups=groups, stats=queue_snapshot(QueueInfo.of(stats, None), utc_now()), complete=complete
    )
