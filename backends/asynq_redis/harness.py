"""What the conformance suite needs of a store on Redis: open it, empty it, damage it, let its time pass.

Only the suite imports this module, so the backend does not depend on the suite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis
import redis.sentinel

from asynq_conformance import Harness
from asynq_redis.brokers import SOCKET_TIMEOUT, connect
from asynq_redis.transport.retries import FAIL_FAST_TIMEOUT
from asynq_redis.url import read_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.clock import FakeClock
    from asynq_redis.base_broker import BaseRedisBroker
    from asynq_redis.url import Endpoint

ALL_KEYS: Final = "asynq:*"
EXPIRING_KEYS: Final = (
    "asynq:*:unique:*",
    "asynq:*:py:tick:*",
    "asynq:servers:*",
    "asynq:workers:*",
    "asynq:schedulers:*",
    "asynq:scheduler_history:*",
)
"""Keys whose expiry is a promise. The server expires them by its own clock."""
KEYS_PER_COMMAND: Final = 1000

WARP: Final = """
for i = 2, #ARGV do
  local cursor = '0'
  repeat
    local page = redis.call('SCAN', cursor, 'MATCH', ARGV[i], 'COUNT', 1000)
    cursor = page[1]
    for _, key in ipairs(page[2]) do
      local left = redis.call('PTTL', key)
      if left >= 0 then redis.call('PEXPIRE', key, math.max(left - ARGV[1], 0)) end
    end
  until cursor == '0'
end
"""
"""Shortens the time to live of keys by ARGV[1] milliseconds; the other arguments are patterns of keys."""


class RedisHarness(Harness):
    """Opens brokers on the server, the sentinels or the cluster of a URL. It touches keys of asynq only."""

    lock_precision = 1000  # locks expire by the server's clock, which runs while a law is checked
    lists_at_once = False  # the names of queues are in a slot of their own

    def __init__(self, url: str) -> None:
        endpoint = read_url(url)
        self.url = url
        self.column = "standalone" if endpoint.kind == "single" else endpoint.kind
        self.resend_after = (
            FAIL_FAST_TIMEOUT if endpoint.kind == "cluster" else SOCKET_TIMEOUT.total_seconds()
        )
        self.machine_share = 0.25 if endpoint.kind == "single" else 0.1
        self.client = _client(endpoint)
        """redis-py's own client, which finds the servers."""
        self._renewed: BaseRedisBroker | None = None

    def close(self) -> None:
        """Close the connections of the harness."""
        self.client.close()

    def open(self, clock: FakeClock) -> BaseRedisBroker:
        self.empty()
        return self.reopen(clock)

    def renew(self, clock: FakeClock) -> BaseRedisBroker:
        self.empty()
        if self._renewed is None or self._renewed.clock is not clock:
            self._renewed = self.reopen(clock)
        return self._renewed

    def reopen(self, clock: FakeClock) -> BaseRedisBroker:
        return connect(self.url, clock=clock)

    def empty(self) -> None:
        keys = list(self.client.scan_iter(ALL_KEYS, count=KEYS_PER_COMMAND))
        for start in range(0, len(keys), KEYS_PER_COMMAND):
            self.client.delete(*keys[start : start + KEYS_PER_COMMAND])

    def about(self) -> dict[str, str]:
        return {"server": f"redis {self.client.info('server')['redis_version']}"}

    def factory(self) -> tuple[str, Mapping[str, Any]]:
        return "asynq:connect", {"url": self.url}

    def warp(self, milliseconds: int) -> None:
        on = {"target_nodes": redis.RedisCluster.PRIMARIES} if self.column == "cluster" else {}
        self.client.execute_command("EVAL", WARP, 0, milliseconds, *EXPIRING_KEYS, **on)

    def corrupt(self, queue: str, task_id: str) -> None:
        self.client.hset(_task(queue, task_id), "msg", b"\xff\xff\xff")

    def lose(self, queue: str, task_id: str) -> None:
        _changed(self.client.delete(_task(queue, task_id)), queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        _changed(self.client.zrem(f"asynq:{{{queue}}}:lease", task_id), queue, task_id)


def _task(queue: str, task_id: str) -> str:
    return f"asynq:{{{queue}}}:t:{task_id}"


def _changed(count: int, queue: str, task_id: str) -> None:
    if count != 1:
        raise LookupError(f"there is no such task to damage: {task_id!r} in queue {queue!r}")


def _client(endpoint: Endpoint) -> Any:
    if endpoint.tls is not None:
        raise ValueError("the harness reaches servers without TLS only")
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
