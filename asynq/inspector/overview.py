"""`Overview`: all queues and servers, read with as few requests as possible.

Written once, for `Inspector` and `AsyncInspector` (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.checks import check_flag
from asynq.errors import AsynqError, QueueNotFoundError, UnsupportedOperationError
from asynq.info import QueueInfo
from asynq.protocol.ops import GetMemory, GetQueueStats, ListQueues, ListServers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.ops import Op
    from asynq.protocol.presence import ServerInfo
    from asynq.runtime.sync_async import BrokerCalls


@frozen(kw_only=True)
class Overview:
    """All queues and the servers that are online, at the time they were read."""

    queues: tuple[QueueInfo, ...]
    """Sorted by name. A queue that could not be read is not among them."""
    unreadable: Mapping[str, AsynqError]
    """Why a queue could not be read, by its name."""
    servers: tuple[ServerInfo, ...]
    """() if the broker does not know them."""


async def overview(broker: BrokerCalls, *, memory: bool = False) -> Overview:
    """All queues and servers, in two round trips: the names first, then everything about them.

    A broker that has many groups in a queue may need more. A queue that cannot be read does not keep the
    others from being read.

    Args:
        broker: Given by the inspector.
        memory: Whether to estimate the memory of each queue, which takes longer than all the rest.

    Raises:
        BrokerUnavailable: The broker cannot be reached.
    """
    check_flag("memory", memory)
    names = await broker.execute(ListQueues())
    operations: list[Op[Any]] = [ListServers(), *(GetQueueStats(queue=name) for name in names)]
    if memory:
        operations += [GetMemory(queue=name) for name in names]
    servers, *answers = await broker.execute_many(operations)
    if isinstance(servers, UnsupportedOperationError):
        servers = ()
    elif isinstance(servers, AsynqError):
        raise servers
    return _overview(names, answers[: len(names)], answers[len(names) :], servers)


def _overview(
    names: Sequence[str], stats: Sequence[Any], estimates: Sequence[Any], servers: tuple[ServerInfo, ...]
) -> Overview:
    bytes_of = {
        name: size
        for name, size in zip(names, estimates, strict=bool(estimates))
        if not isinstance(size, AsynqError)
    }
    queues: list[QueueInfo] = []
    unreadable: dict[str, AsynqError] = {}
    for name, each in zip(names, stats, strict=True):
        if isinstance(each, QueueNotFoundError):
            continue  # deleted meanwhile
        if isinstance(each, AsynqError):
            unreadable[name] = each
        else:
            queues.append(QueueInfo.of(each, bytes_of.get(name)))
    return Overview(queues=tuple(queues), unreadable=unreadable, servers=servers)
