"""`Inspector.overview` on every broker: the same as queue by queue, with fewer requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import redis
from attrs import define, evolve

from asynq import AsyncInspector, Client, Inspector, Task
from asynq.inspector.overview import overview
from asynq.protocol.ops import WriteServer
from asynq.protocol.presence import ServerInfo
from asynq.runtime.sync_async import BlockingCalls, completed
from asynq_redis import RedisBroker
from tests.brokers import KINDS, broker_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq import Broker
    from tests.servers import RedisServer

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


@define
class CountedCalls:
    """Counts the round trips of a broker."""

    calls: BlockingCalls
    made: int = 0

    def execute(self, op: Any, /) -> Any:
        self.made += 1
        return self.calls.execute(op)

    def execute_many(self, ops: Any, /) -> Any:
        self.made += 1
        return self.calls.execute_many(ops)


def prepare(broker: Broker, *names: str) -> None:
    for name in names:
        Client(broker).enqueue(Task("t"), queue=name)


def test_an_overview_has_what_each_queue_has(broker: Broker) -> None:
    prepare(broker, "b", "a", "c")
    inspector = Inspector(broker)
    inspector.pause("c")
    found = inspector.overview(memory=True)
    each = [inspector.queue_info(name) for name in ("a", "b", "c")]
    latency = each[0].latency
    assert [evolve(info, latency=latency) for info in found.queues] == [
        evolve(info, latency=latency) for info in each
    ]
    assert found.unreadable == {}
    assert [info.memory for info in inspector.overview().queues] == [None] * 3


async def test_an_overview_has_the_servers(broker: Broker) -> None:
    assert (await AsyncInspector(broker).overview()).servers == ()
    server = ServerInfo(
        id="s", host="host", pid=1, started_at=datetime(2026, 1, 1, tzinfo=UTC), concurrency=1
    )
    broker.execute(WriteServer(server=server, ttl=10_000))
    assert (await AsyncInspector(broker).overview()).servers == (server,)
    await broker.aclose()


def test_an_overview_of_any_number_of_queues_is_two_round_trips(broker: Broker) -> None:
    prepare(broker, *(f"q{number}" for number in range(20)))
    calls = CountedCalls(BlockingCalls(broker))
    assert len(completed(overview(calls, memory=True)).queues) == 20
    assert calls.made == 2


def test_a_queue_that_cannot_be_read_does_not_hide_the_others(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    prepare(broker, "good", "bad")
    with redis.Redis.from_url(redis_server.url) as client:
        client.delete("asynq:{bad}:pending")
        client.set("asynq:{bad}:pending", "no list")
    found = Inspector(broker).overview()
    assert [info.queue for info in found.queues] == ["good"]
    assert list(found.unreadable) == ["bad"]
    broker.close()
