"""The number of connections to each server, also after a failover, and after everything is closed."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, ServeMux, Server, Task
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue
from asynq_redis import RedisClusterBroker, RedisSentinelBroker
from asynq_redis.transport import retries
from asynq_topologies.layout import MASTER
from tests.topologies.conftest import queues_of
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from asynq import Context
    from asynq_topologies import Topology
    from asynq_topologies.node import Node

THREADS, MOST = 12, 3


def clients(node: Node) -> int:
    """Connections to a server, without those of the test and of other servers."""
    found: list[dict[str, str]] = node.client.client_list()
    mine = str(node.client.client_id())
    return sum(
        one["id"] != mine and not set(one["flags"]) & set("SM") and not one["name"].startswith("sentinel")
        for one in found
    )


def counts(topology: Topology) -> dict[int, int]:
    return {node.port: clients(node) for node in (*topology.nodes, *topology.sentinels)}


def grown(topology: Topology, before: dict[int, int]) -> dict[int, int]:
    """The number of additional connections by server; servers without any are omitted.

    There may also be fewer, because connections of earlier tests or of the start of the servers end over
    time.
    """
    more = {port: count - before[port] for port, count in counts(topology).items()}
    return {port: count for port, count in more.items() if count > 0}


def broker_on(topology: Topology, **options: Any) -> Any:
    if topology.kind == "cluster":
        return RedisClusterBroker([node.address for node in topology.nodes], **options)
    return RedisSentinelBroker([one.address for one in topology.sentinels], master=MASTER, **options)


def enqueue(queue: str) -> Enqueue:
    return Enqueue(message=TaskMessage(id="a", type="t", queue=queue), enqueue_id="call")


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_threads_share_the_connections_to_each_shard(kind: str, request: pytest.FixtureRequest) -> None:
    topology: Topology = request.getfixturevalue(kind)
    topology.wait_whole()
    queues, before = queues_of(topology), counts(topology)
    with closing(broker_on(topology, max_connections=MOST)) as broker:

        def work(_: int) -> None:
            for _ in range(10):
                broker.execute_many([enqueue(queue) for queue in queues])

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(work, range(THREADS)))
        more = grown(topology, before)
        primaries = {node.port for node in topology.primaries()}
        assert more.keys() == primaries | {one.port for one in topology.sentinels}
        assert all(more[port] <= MOST for port in primaries)
        assert all(more[one.port] == 1 for one in topology.sentinels)
    eventually(lambda: grown(topology, before) == {})


async def test_a_worker_has_few_connections_to_each_shard(
    own: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "IDLE_CONNECTION_TIMEOUT", 2.0)
    queues, before, done = queues_of(own), counts(own), asyncio.Event()
    broker, mux = broker_on(own), ServeMux()

    @mux.handler("t")
    async def run(ctx: Context, task: Task) -> None:
        done.set()

    async def runs_a_task() -> None:
        done.clear()
        await asyncio.to_thread(client.enqueue, Task("t"), queue=queues[0])
        async with asyncio.timeout(20):
            await done.wait()

    server = Server(broker, queues=dict.fromkeys(queues, 1), concurrency=50)
    with Client(own.url) as client:
        await server.start(mux)
        await runs_a_task()
        old = own.primary_of(f"asynq:{{{queues[0]}}}:pending")
        await asyncio.to_thread(own.fail_over, old)
        await runs_a_task()
        await asyncio.to_thread(own.wait_whole)
    primaries = {node.port for node in own.primaries()}

    def few() -> bool:
        more = grown(own, before)
        return more.keys() - {one.port for one in own.sentinels} == primaries and max(more.values()) <= 3

    # Leftovers of the start, and of the former primary, are gone after they were unused for a while.
    await aeventually(few, 20)
    await server.shutdown()
    await broker.aclose()
    broker.close()
    await aeventually(lambda: grown(own, before) == {}, 20)
