"""Log warnings about server settings that may lose tasks. A worker does so once when it starts to listen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asynq.runtime.logs import get_logger
from asynq_redis.transport.server_facts import QUERIES, facts_of, takes_snapshots, warnings

if TYPE_CHECKING:
    from asynq_redis.events.push_connection import PushConnection

logger = get_logger("asynq.redis")


def warn_about_server(
    connection: PushConnection, address: object, min_replicas: int, *, expects_replica: bool
) -> None:
    """Ask the server for its settings and log a warning for each one that may lose tasks.

    Nothing is logged if the user has no permission to ask. `expects_replica`: see `warnings`.
    """

    def found(replies: asyncio.Future[list[Any]]) -> None:
        if not replies.cancelled():
            info, save = replies.result()
            for warning in warnings(
                facts_of(info),
                snapshots=takes_snapshots(save),
                min_replicas=min_replicas,
                expects_replica=expects_replica,
            ):
                logger.warning("Redis at %s: %s", address, warning)

    asyncio.gather(*(connection.send(*query) for query in QUERIES)).add_done_callback(found)
