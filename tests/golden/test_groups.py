"""Groups shared with Go aggregators: their leftovers are reclaimed, and their changes are noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.clock import FakeClock
from asynq.errors import AggregationLostError
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq_redis import RedisBroker
from tests.golden.dumps import load, restore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.groups import AggregationSet
    from tests.servers import RedisServer

DEADLINE = 1_795_343_689
"""Second until which Go holds the set of this dump."""
GROUP, SETS = "asynq:{q}:g:g", "asynq:{q}:aggregation_sets"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(4_000_000_000_000)


@pytest.fixture
def broker(redis_server: RedisServer, clock: FakeClock) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url, clock=clock)
    yield broker
    broker.close()


@pytest.mark.parametrize(("offset", "reclaimed"), [(-1, 0), (0, 1), (1, 1)])
def test_a_set_of_a_crashed_go_server_is_returned_to_its_group(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock, offset: int, reclaimed: int
) -> None:
    restore(load("aggregation_set_staged"), redis_server.client)
    clock.set(DEADLINE * 1000 + offset)
    assert broker.execute(ops.ReclaimAggregations(queue="default")) == reclaimed
    page = broker.execute(ops.ListGroups(queue="default"))
    assert {group.name: group.size for group in page.groups} == ({"user:7": 3} if reclaimed else {})
    take = ops.TakeGroup(queue="default", group="user:7", set_id="ours", grace=1000)
    taken = broker.execute(take)
    assert [message.id for message in (taken.messages if taken else ())] == (
        ["n1", "n2", "n3"] if reclaimed else []
    )


def take_one(broker: RedisBroker, clock: FakeClock) -> AggregationSet:
    """A set with one task, taken by us."""
    message = TaskMessage(id="t", type="type", queue="q", group="g")
    broker.execute(ops.Enqueue(message=message, enqueue_id="e"))
    clock.advance(60_000)
    taken = broker.execute(ops.TakeGroup(queue="q", group="g", set_id="ours", grace=1000))
    assert taken is not None
    return taken


def test_a_set_reclaimed_by_a_go_server_cannot_be_finished(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock
) -> None:
    taken, go = take_one(broker, clock), redis_server.client
    go.rename(f"{GROUP}:ours", GROUP)
    go.zrem(SETS, f"{GROUP}:ours")
    enqueue = ops.Enqueue(message=TaskMessage(id="all", type="type", queue="q"), enqueue_id="a")
    with pytest.raises(AggregationLostError):
        broker.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
    assert go.exists("asynq:{q}:t:all") == 0
    assert go.exists("asynq:{q}:t:t") == 1


def test_sets_have_the_format_that_go_expects(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock
) -> None:
    take_one(broker, clock)
    go = redis_server.client
    own = f"{GROUP}:ours"
    assert go.zrange(SETS, 0, -1, withscores=True) == [(own.encode(), clock.now() // 1000 + 120)]
    assert go.zrange(own, 0, -1, withscores=True) == [(b"t", 4_000_000_000)]


@pytest.mark.parametrize("name", ["nonsense", "asynq:{q}:g:", "asynq:{q}:g:no-set"])
def test_the_name_of_a_missing_set_is_removed(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock, name: str
) -> None:
    take_one(broker, clock)
    redis_server.client.zadd(SETS, {name: 1})
    clock.advance(600_000)
    assert broker.execute(ops.ReclaimAggregations(queue="q")) == 1
    assert redis_server.client.exists(SETS) == 0


def test_a_set_that_cannot_be_returned_does_not_block_others(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock
) -> None:
    take_one(broker, clock)
    redis_server.client.set("asynq:{q}:g:broken", "not a group")
    redis_server.client.zadd(SETS, {"asynq:{q}:g:broken:s": 1})
    clock.advance(600_000)
    assert broker.execute(ops.ReclaimAggregations(queue="q")) == 1


def test_a_set_of_any_size_is_reclaimed_completely(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock
) -> None:
    members = {f"t{number}": 1 for number in range(2 * ops.MAX_SET_SIZE + 1)}
    redis_server.client.zadd(f"{GROUP}:theirs", members)
    redis_server.client.zadd(SETS, {f"{GROUP}:theirs": 1})
    assert broker.execute(ops.ReclaimAggregations(queue="q")) == 1
    assert redis_server.client.zcard(GROUP) == len(members)


def test_an_aggregation_leaves_only_its_task(
    redis_server: RedisServer, broker: RedisBroker, clock: FakeClock
) -> None:
    go = redis_server.client
    for name in ("half", "damaged"):
        message = TaskMessage(id=name, type="type", queue="q", group="g")
        broker.execute(ops.Enqueue(message=message, enqueue_id="e"))
    go.hdel("asynq:{q}:t:half", "msg")
    go.hset("asynq:{q}:t:damaged", "msg", b"\xff")
    go.sadd("asynq:{q}:groups", "ghost")
    taken = take_one(broker, clock)
    enqueue = ops.Enqueue(message=TaskMessage(id="all", type="type", queue="q"), enqueue_id="a")
    broker.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
    assert broker.execute(ops.TakeGroup(queue="q", group="ghost", set_id="s", grace=1000)) is None
    left = {"queues", "{q}:pending", "{q}:archived", "{q}:t:all", "{q}:t:damaged"}
    assert set(go.scan_iter()) == {f"asynq:{name}".encode() for name in left}
    assert not go.hexists("asynq:{q}:t:damaged", "group")
