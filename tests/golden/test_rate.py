"""Semaphores shared with Go's x/rate package, which stores task ids by the deadline of their run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.clock import FakeClock
from asynq.protocol.ops import AcquireSlot, ReleaseSlot
from asynq_redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.servers import RedisServer

NOW = 4_000_000_000_250
KEY = "asynq:sema:s"


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url, clock=FakeClock(NOW))
    yield broker
    broker.close()


@pytest.fixture
def go(redis_server: RedisServer) -> redis.Redis:
    """The connection of a Go worker."""
    return redis_server.client


def acquire(holder: str) -> AcquireSlot:
    return AcquireSlot(scope="s", holder=holder, limit=2, hold=30_000)


def test_a_running_go_task_takes_a_slot(go: redis.Redis, broker: RedisBroker) -> None:
    go.zadd(KEY, {"go-task": NOW // 1000 + 60})
    assert broker.execute(acquire("a"))
    assert not broker.execute(acquire("b"))
    assert go.zrem(KEY, "go-task") == 1
    assert broker.execute(acquire("b"))


def test_go_counts_our_holders_until_they_expire(go: redis.Redis, broker: RedisBroker) -> None:
    assert broker.execute(acquire("a"))
    lapse = NOW // 1000 + 30
    assert go.zremrangebyscore(KEY, "-inf", lapse) == 0
    assert go.zcard(KEY) == 1
    assert go.zremrangebyscore(KEY, "-inf", lapse + 1) == 1


def test_a_slot_of_a_go_task_is_not_released(go: redis.Redis, broker: RedisBroker) -> None:
    go.zadd(KEY, {"t": NOW // 1000 + 60})
    assert not broker.execute(ReleaseSlot(scope="s", holder="t:run"))
    assert go.zcard(KEY) == 1
