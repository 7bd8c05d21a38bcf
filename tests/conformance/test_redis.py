"""The laws of a broker, on a real Redis server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq_conformance import BrokerConformance, Harness
from asynq_redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.clock import FakeClock
    from tests.servers import RedisServer


EXPIRING = (
    "asynq:*:unique:*",
    "asynq:*:py:tick:*",
    "asynq:servers:*",
    "asynq:workers:*",
    "asynq:schedulers:*",
    "asynq:scheduler_history:*",
)
"""Keys whose end is a promise; the server's own clock brings it about."""

WARP = """
for i = 2, #ARGV do
  for _, key in ipairs(redis.call('KEYS', ARGV[i])) do
    local left = redis.call('PTTL', key)
    if left >= 0 then redis.call('PEXPIRE', key, math.max(left - ARGV[1], 0)) end
  end
end
"""


class RedisHarness(Harness):
    """A broker on the tests' server; damage is done with plain commands."""

    lock_precision = 1000  # locks end by the server's clock, which runs while a test runs
    machine_share = 0.25
    lists_at_once = False  # the names of queues live in a slot of their own

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self._shared: RedisBroker | None = None

    def open(self, clock: FakeClock) -> RedisBroker:
        return self.reopen(clock)

    def renew(self, clock: FakeClock) -> RedisBroker:
        self.flush()
        if self._shared is None:
            self._shared = self.reopen(clock)
        return self._shared

    def flush(self) -> None:
        self.server.flush()

    def reopen(self, clock: FakeClock) -> RedisBroker:
        return RedisBroker(self.server.url, clock=clock)

    def about(self) -> dict[str, str]:
        return {"server": f"redis {self.server.client.info('server')['redis_version']}"}

    def factory(self) -> tuple[str, dict[str, Any]]:
        return "asynq:connect", {"url": self.server.url}

    def warp(self, milliseconds: int) -> None:
        for client in self.clients():
            client.eval(WARP, 0, milliseconds, *EXPIRING)

    def clients(self) -> Sequence[Any]:
        """A client of each server that holds keys."""
        return [self.server.client]

    def corrupt(self, queue: str, task_id: str) -> None:
        self.server.client.hset(f"asynq:{{{queue}}}:t:{task_id}", "msg", b"\xff\xff\xff")

    def lose(self, queue: str, task_id: str) -> None:
        assert self.server.client.delete(f"asynq:{{{queue}}}:t:{task_id}") == 1

    def strand(self, queue: str, task_id: str) -> None:
        assert self.server.client.zrem(f"asynq:{{{queue}}}:lease", task_id) == 1


class TestRedis(BrokerConformance):
    column = "standalone"

    @pytest.fixture
    def harness(self, redis_server: RedisServer) -> Harness:
        return RedisHarness(redis_server)
