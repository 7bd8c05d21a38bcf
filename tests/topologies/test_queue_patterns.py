"""A server on a Cluster follows queues on all shards, also when one of them has just been created."""

from __future__ import annotations

from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from asynq import AsyncClient, Context, Server, Task
from asynq.protocol.connect import connect
from tests.topologies.conftest import queues_of
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq_topologies import Topology


async def test_queues_of_a_pattern_are_found_on_every_shard(cluster: Topology) -> None:
    runs: Counter[str] = Counter()

    async def handler(ctx: Context, task: Task) -> None:
        del task
        runs[ctx.queue] += 1

    first, *others = queues_of(cluster)
    broker: Any = connect(cluster.url)
    async with aclosing(broker):
        client = AsyncClient(broker)
        await client.enqueue(Task("t"), queue=first)
        server = Server(broker, queues={"q*": 2, "default": 1})
        await server.start(handler)
        try:
            await aeventually(lambda: runs == {first: 1})
            for queue in others:
                await client.enqueue(Task("t"), queue=queue)
            await aeventually(lambda: runs == dict.fromkeys([first, *others], 1))
        finally:
            await server.shutdown()
