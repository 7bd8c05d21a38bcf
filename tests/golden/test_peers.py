"""Queues shared with Go workers: their effects on our tasks, and ours on theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.clock import FakeClock
from asynq.errors import LeaseLostError
from asynq.protocol import ops
from asynq.protocol.message import Delivery, Lease, TaskMessage
from asynq.task_state import TaskState
from asynq_redis import RedisBroker

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from tests.servers import RedisServer

NOW = 4_000_000_000_250
LEASE_KEY = "asynq:{q}:lease"
GRACE = 30_000
"""Milliseconds by which Go lets its own lease overrun before it counts as expired."""


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def broker(redis_server: RedisServer, clock: FakeClock) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url, clock=clock)
    yield broker
    broker.close()


@pytest.fixture
def delivery(broker: RedisBroker) -> Delivery:
    """A task that our worker runs."""
    message = TaskMessage(id="t", type="type", queue="q", timeout=1800)
    broker.execute(ops.Enqueue(message=message, enqueue_id="e"))
    (delivery,) = broker.execute(ops.Dequeue(orders=(("q",),), token="token", lease=30_000))
    return delivery


@pytest.fixture
def go(redis_server: RedisServer) -> redis.Redis:
    """The connection of a Go worker."""
    return redis_server.client


def test_leases_never_look_like_those_of_go(go: redis.Redis, broker: RedisBroker, clock: FakeClock) -> None:
    for number, offset in enumerate((0, 1, 749, 750, 751, 999)):
        clock.set(NOW + offset)
        message = TaskMessage(id=f"t{number}", type="type", queue="q")
        broker.execute(ops.Enqueue(message=message, enqueue_id=f"e{number}"))
        broker.execute(ops.Dequeue(orders=(("q",),), token=f"token{number}", lease=30_000))
        score = go.zscore(LEASE_KEY, f"t{number}")
        assert score is not None
        assert not float(score).is_integer()
        assert float(score) * 1000 == pytest.approx(NOW + offset + 30_000, abs=1.1)


def test_a_task_with_a_lease_extended_by_a_go_worker_is_lost(
    go: redis.Redis, broker: RedisBroker, delivery: Delivery
) -> None:
    go.zadd(LEASE_KEY, {"t": NOW // 1000 + 60}, xx=True)
    for op in (
        ops.Done(delivery=delivery),
        ops.ExtendLease(lease=delivery.lease, duration=60_000),
        ops.WriteResult(lease=delivery.lease, result=b""),
    ):
        with pytest.raises(LeaseLostError):
            broker.execute(op)
    assert broker.execute(ops.GetTask(queue="q", task_id="t")).state is TaskState.ACTIVE


def test_a_task_taken_by_a_go_worker_cannot_be_settled(go: redis.Redis, broker: RedisBroker) -> None:
    message = TaskMessage(id="t", type="type", queue="q")
    broker.execute(ops.Enqueue(message=message, enqueue_id="e"))
    go.rpoplpush("asynq:{q}:pending", "asynq:{q}:active")
    go.hset("asynq:{q}:t:t", "state", "active")
    go.zadd(LEASE_KEY, {"t": NOW // 1000 + 30})
    stranger = Delivery(message=message, token="", expires_at=0)
    with pytest.raises(LeaseLostError):
        broker.execute(ops.Done(delivery=stranger))
    with pytest.raises(LeaseLostError):
        broker.execute(ops.ExtendLease(lease=Lease("q", "t", ""), duration=60_000))


@pytest.mark.usefixtures("delivery")
@pytest.mark.parametrize(("offset", "lost"), [(-1, False), (0, True), (1, True)])
def test_a_lease_written_by_go_is_lost_thirty_seconds_after_its_expiry(
    go: redis.Redis, broker: RedisBroker, clock: FakeClock, offset: int, lost: bool
) -> None:
    end = NOW // 1000 + 30
    go.zadd(LEASE_KEY, {"t": end})
    clock.set(end * 1000 + GRACE + offset)
    leases = broker.execute(ops.ListLostLeases(queue="q")).leases
    assert [lease.message.id for lease in leases] == (["t"] if lost else [])


def test_a_task_finished_by_a_go_worker_is_not_restored(
    go: redis.Redis, broker: RedisBroker, delivery: Delivery
) -> None:
    go.lrem("asynq:{q}:active", 0, "t")
    go.zrem(LEASE_KEY, "t")
    go.delete("asynq:{q}:t:t")
    with pytest.raises(LeaseLostError):
        broker.execute(ops.Complete(delivery=delivery, result=b"late"))
    assert go.exists("asynq:{q}:t:t") == 0
