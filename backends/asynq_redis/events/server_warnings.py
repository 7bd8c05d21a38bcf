"""Warnings about server settings that may lose tasks. A worker logs them once when it starts to listen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import redis

from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_redis.events.push_connection import PushConnection

logger = get_logger("asynq.redis")


def warn_about_server(
    connection: PushConnection, address: object, min_replicas: int, *, expects_replica: bool
) -> None:
    """Ask the server for its settings and log a warning for each one that may lose tasks.

    Nothing is logged if the user has no permission to ask. `expects_replica`: see `warnings`.
    """

    def found(replies: asyncio.Future[tuple[Any, Any]]) -> None:
        if not replies.cancelled():
            about, saving = replies.result()
            for warning in warnings(about, saving, min_replicas, expects_replica=expects_replica):
                logger.warning("Redis at %s: %s", address, warning)

    info, save = connection.send("INFO"), connection.send("CONFIG", "GET", "save")
    asyncio.gather(info, save).add_done_callback(found)


def warnings(info: Any, save: Any, min_replicas: int, *, expects_replica: bool) -> Iterator[str]:
    """Warn about settings that may lose tasks.

    Args:
        info: The reply to INFO, which may be an error or None.
        save: The reply to CONFIG GET save, which may be an error or None.
        min_replicas: Number of replicas that must confirm a write.
        expects_replica: The broker relies on a replica for failover.
    """
    if info is None or isinstance(info, redis.RedisError):
        return
    text = info.decode() if isinstance(info, bytes) else str(info)
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if facts.get("loading") == "1":
        return  # meanwhile a server says that it has no append-only file and no replicas
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"maxmemory-policy {policy} evicts tasks when memory runs out; set noeviction"
    if facts.get("aof_enabled") == "0" and isinstance(save, dict) and save.get(b"save") == b"":
        yield "it writes nothing to disk, so a restart loses all tasks; set appendonly yes"
    replicas = int(facts.get("connected_slaves", "0"))
    if replicas < min_replicas:
        yield f"min_replicas is {min_replicas}, but {replicas} replicas are connected"
    elif expects_replica and not replicas and facts.get("role") == "master":
        yield "no replica is connected, so a failover is not possible"
