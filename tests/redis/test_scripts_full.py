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
from tests.redis.script_lab import ScriptLab, message
from tests.servers import skip_before_redis_7

if TYPE_CHECKING:
    from tests.servers import RedisServer


def test_a_full_server_refuses_new_tasks_and_settles_existing_ones(own_server: RedisServer) -> None:
    skip_before_redis_7(own_server, "settles nothing while it is full")
    lab = ScriptLab(own_server.client)
    lab.enqueue(*(message(f"{number}") for number in range(6)))
    lab.enqueue(message("late"), process_in=1000)
    lab.clock.advance(1000)
    own_server.client.config_set("maxmemory", 1)

    [refusal] = lab.enqueue(message("new"))
    assert isinstance(refusal, redis.exceptions.OutOfMemoryError)
    assert not own_server.client.exists("asynq:{q}:t:new")
    assert lab.one(Forward(queue="q")).moved == 1
    a, b, c, d, e, _ = lab.take(6)
    assert (
        lab.many(
            Done(delivery=a),
            Complete(delivery=b),
            Retry(delivery=c, delay=1, error="no"),
            Archive(delivery=d, error="no"),
            Requeue(delivery=e),
        )
        == [None] * 5
    )
    lab.clock.advance(60_000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    assert lab.one(Recover(lost=lost, to="pending", error="lost")) is True
    assert lab.one(ExtendLease(lease=lab.take(1, token="t")[0].lease, duration=60_000)).expires_at
