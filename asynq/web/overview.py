"""Reads all queues and servers, for the overview and for everything that is live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.errors import AsynqError, QueueNotFoundError, UnsupportedOperationError
from asynq.info import QueueInfo
from asynq.protocol.ops import GetQueueStats, ListQueues, ListServers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op
    from asynq.protocol.presence import ServerInfo


@frozen(kw_only=True)
class Overview:
    """All queues and the servers that are online, at the time they were read."""

    queues: tuple[QueueInfo, ...]
    """Sorted by name. A queue that could not be read is not among them."""
    unreadable: Mapping[str, AsynqError]
    """Why a queue could not be read, by its name."""
    servers: tuple[ServerInfo, ...]


async def read_overview(broker: Broker) -> Overview:
    """Read it in two round trips."""
    names = await broker.aexecute(ListQueues())
    operations: list[Op[Any]] = [ListServers(), *(GetQueueStats(queue=name) for name in names)]
    servers, *answers = await broker.aexecute_many(operations)
    if isinstance(servers, UnsupportedOperationError):
        servers = ()
    elif isinstance(servers, AsynqError):
        raise servers
    queues: list[QueueInfo] = []
    unreadable: dict[str, AsynqError] = {}
    for name, each in zip(names, answers, strict=True):
        if isinstance(each, QueueNotFoundError):
            continue
        if isinstance(each, AsynqError):
            unreadable[name] = each
        else:
            queues.append(QueueInfo.of(each, None))
    return Overview(queues=tuple(queues), unreadable=unreadable, servers=servers)
