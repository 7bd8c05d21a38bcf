"""What a server says of itself in INFO, and warnings about settings that may lose tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

QUERIES = (("INFO",), ("CONFIG", "GET", "save"))
"""The commands whose replies the functions below read."""


def facts_of(info: Any) -> dict[str, str]:
    """The fields of a reply to INFO or CLUSTER INFO. Empty if the server refused to answer."""
    if info is None or isinstance(info, redis.RedisError):
        return {}
    text = info.decode(errors="replace") if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def takes_snapshots(save: Any) -> bool | None:
    """Whether the server takes snapshots on its own, by its reply to CONFIG GET save. None: it is unknown."""
    if isinstance(save, list):
        save = dict(zip(save[::2], save[1::2], strict=False))
    return bool(save[b"save"]) if isinstance(save, dict) and b"save" in save else None


def warnings(
    facts: Mapping[str, str], *, snapshots: bool | None, min_replicas: int, expects_replica: bool
) -> Iterator[str]:
    """Warn about settings that may lose tasks.

    Args:
        facts: What the server says in INFO; empty if it refused.
        snapshots: Whether it takes snapshots; None if it is unknown.
        min_replicas: Number of replicas that must confirm a write.
        expects_replica: The broker relies on a replica for failover.
    """
    if not facts or facts.get("loading") == "1":
        return  # a server that is loading says that it has no append-only file and no replicas
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield f"maxmemory-policy {policy} evicts tasks when memory runs out; set noeviction"
    if facts.get("aof_enabled") == "0" and snapshots is False:
        yield "it writes nothing to disk, so a restart loses all tasks; set appendonly yes"
    replicas = int(facts.get("connected_slaves", "0"))
    if replicas < min_replicas:
        yield f"min_replicas is {min_replicas}, but {replicas} replicas are connected"
    elif expects_replica and not replicas and facts.get("role") == "master":
        yield "no replica is connected, so a failover is not possible"
