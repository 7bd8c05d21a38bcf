"""A server without free memory: enqueueing is refused, draining continues."""

from __future__ import annotations

from typing import TYPE_CHECKING

import redis

from asynq.protocol.ops import (
    Archive,
    Complete,
    Done,
    ExtendLease,
    Forward,
    ListLostLeases,
    Recover,
    Requeue,
    Retry,
)
from tests.redis.driver import Driver, message

if TYPE_CHECKING:
    from tests.servers import RedisServer


def test_a_full_server_refuses_new_tasks_and_settles_existing_ones(own_server: RedisServer) -> None:
    driver = Driver(own_server.client)
    driver.enqueue(*(message(f"{number}") for number in range(6)))
    driver.enqueue(message("late"), process_in=1000)
    driver.clock.advance(1000)
    own_server.client.config_set("maxmemory", 1)

    [refusal] = driver.enqueue(message("new"))
    assert isinstance(refusal, redis.exceptions.OutOfMemoryError)
    assert not own_server.client.exists("asynq:{q}:t:new")
    assert driver.one(Forward(queue="q")).moved == 1
    a, b, c, d, e, _ = driver.take(6)
    assert (
        driver.many(
            Done(delivery=a),
            Complete(delivery=b),
            Retry(delivery=c, delay=1, error="no"),
            Archive(delivery=d, error="no"),
            Requeue(delivery=e),
        )
        == [None] * 5
    )
    driver.clock.advance(60_000)
    [lost] = driver.one(ListLostLeases(queue="q")).leases
    assert driver.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert driver.one(ExtendLease(lease=driver.take(1, token="t")[0].lease, duration=60_000)).expires_at
