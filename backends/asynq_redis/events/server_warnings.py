"""What a server's settings may cost: said once to a worker that begins to listen to it."""

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
    """Ask the server about itself; with the replies comes a warning for each setting that may lose tasks.

    Where the user may not ask, nothing is said. expects_replica: as in `warnings`.
    """

    def found(replies: asyncio.Future[tuple[Any, Any]]) -> None:
        if not replies.cancelled():
            about, saving = replies.result()
            for warning in warnings(about, saving, min_replicas, expects_replica=expects_replica):
                logger.warning("Redis at %s: %s", address, warning)

    info, save = connection.send("INFO"), connection.send("CONFIG", "GET", "save")
    asyncio.gather(info, save).add_done_callback(found)


def warnings(info: Any, save: Any, min_replicas: int, *, expects_replica: bool) -> Iterator[str]:
    """What may lose tasks, by the replies to INFO and CONFIG GET save, which may be errors or missing.

    expects_replica: a broker relies on a replica to take over.
    """
    if info is None or isinstance(info, redis.RedisError):
        return
    text = info.decode() if isinstance(info, bytes) else str(info)
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"maxmemory-policy {policy} evicts tasks when memory is short; set noeviction"
    if facts.get("aof_enabled") == "0" and isinstance(save, dict) and save.get(b"save") == b"":
        yield "it writes nothing to disk, so a restart loses all tasks; set appendonly yes"
    replicas = int(facts.get("connected_slaves", "0"))
    if replicas < min_replicas:
        yield f"min_replicas is {min_replicas}, and {replicas} replicas are connected"
    elif expects_replica and not replicas and facts.get("role") == "master":
        yield "no replica is connected, so nobody can take over when it fails"
