"""What the conformance suite needs of a store at a URL: to empty it, to damage it, to let its time pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis
import redis.sentinel

from asynq_redis.brokers import connect
from asynq_redis.url import read_url

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq_redis.base_broker import BaseRedisBroker
    from asynq_redis.url import Endpoint

EVERYTHING: Final = "asynq:*"
EXPIRING: Final = (
    "asynq:*:unique:*",
    "asynq:*:py:tick:*",
    "asynq:servers:*",
    "asynq:workers:*",
    "asynq:schedulers:*",
    "asynq:scheduler_history:*",
)
"""Keys whose end is a promise; the server's own clock brings it about."""


class RedisRig:
    """Reaches behind the brokers of a URL, with plain commands. Only keys of asynq are touched."""

    lock_precision = 1000  # locks end by the server's clock, which runs while a law is checked
    lists_at_once = False  # the names of queues live in a slot of their own

    def __init__(self, url: str) -> None:
        endpoint = read_url(url)
        self.column = "standalone" if endpoint.kind == "single" else endpoint.kind
        self._url = url
        self._client = _client(endpoint)

    def broker(self, clock: Clock | None) -> BaseRedisBroker:
        """A broker on the store as it is."""
        return connect(self._url, clock=clock)

    def factory(self) -> tuple[str, dict[str, str]]:
        """How another process opens the store."""
        return "asynq:connect", {"url": self._url}

    def about(self) -> dict[str, str]:
        """Version of the server."""
        facts = self._client.info("server")
        return {"server": f"redis {facts['redis_version']}"}

    def empty(self) -> None:
        """Remove all that asynq keeps there."""
        for key in self._client.scan_iter(EVERYTHING, count=1000):
            self._client.delete(key)

    def warp(self, milliseconds: int) -> None:
        """Let what expires by the server's clock follow a clock that was moved."""
        for pattern in EXPIRING:
            for key in self._client.scan_iter(pattern, count=1000):
                if (left := self._client.pttl(key)) >= 0:
                    self._client.pexpire(key, max(left - milliseconds, 0))

    def corrupt(self, queue: str, task_id: str) -> None:
        """Make a message undecodable."""
        self._client.hset(_task(queue, task_id), "msg", b"\xff\xff\xff")

    def lose(self, queue: str, task_id: str) -> None:
        """Remove a task, but not its id."""
        self._client.delete(_task(queue, task_id))

    def strand(self, queue: str, task_id: str) -> None:
        """Remove the lease of an active task."""
        self._client.zrem(f"asynq:{{{queue}}}:lease", task_id)


def _task(queue: str, task_id: str) -> str:
    return f"asynq:{{{queue}}}:t:{task_id}"


def _client(endpoint: Endpoint) -> Any:
    """redis-py's own, which finds the servers. ValueError for what it would have to be told more about."""
    if endpoint.tls is not None:
        raise ValueError("the rig speaks to servers without TLS only")
    login = {"username": endpoint.username, "password": endpoint.password}
    first = endpoint.addresses[0]
    if endpoint.kind == "cluster":
        return redis.RedisCluster(host=first.host, port=first.port, **login)  # type: ignore[arg-type]
    if endpoint.kind == "sentinel":
        sentinel_login = {"username": endpoint.sentinel_username, "password": endpoint.sentinel_password}
        found = [(address.host, address.port) for address in endpoint.addresses]
        make: Any = redis.sentinel.Sentinel  # which has no types
        sentinels = make(found, sentinel_kwargs=sentinel_login)
        return sentinels.master_for(endpoint.master, db=endpoint.db, **login)
    if first.path:
        return redis.Redis(unix_socket_path=first.path, db=endpoint.db, **login)  # type: ignore[arg-type]
    return redis.Redis(host=first.host, port=first.port, db=endpoint.db, **login)  # type: ignore[arg-type]
