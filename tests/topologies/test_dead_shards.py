"""One shard is dead or hangs: queues on the others keep working, even if it lists all queues."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import Dequeue, Enqueued
from asynq_redis import RedisClusterBroker
from tests.redis.custom_operations import enqueue
from tests.topologies.conftest import queues_of
from tests.topologies.load import Load
from tests.waiting import let_pass

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynq_topologies import Topology
    from asynq_topologies.node import Node

DEAD_FOR = 7.0
"""Seconds without a server for a queue."""
STALL = 6.0
"""Maximum pause of a queue on another shard, in seconds. A producer waits for the socket timeout, 3 s, before
it leaves a hanging server."""


def shard_of(cluster: Topology, key: str) -> list[Node]:
    """A primary and its possible successors."""
    primary = cluster.primary_of(key)
    return [*cluster.replicas_of(primary), primary]


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("what", "how"), [("a queue", "hanging"), ("the list of queues", "killed")], ids=["queue", "list"]
)
def test_queues_on_other_shards_keep_working(
    own_cluster: Topology, how: str, what: str, tmp_path: Path, report: Callable[..., None]
) -> None:
    queues = queues_of(own_cluster)
    dead = queues[0] if what == "a queue" else queues[-1]
    shard = shard_of(own_cluster, f"asynq:{{{dead}}}:pending")
    alive = [queue for queue in queues if queue != dead]
    with Load(own_cluster.url, queues, tmp_path) as load:
        for node in shard:
            node.kill() if how == "killed" else node.pause()
        began = time.time()
        load.wait_flowing(began, alive)
        let_pass(DEAD_FOR)
        done = {
            queue: sum(line.queue == queue and line.at > began for line in load.ended()) for queue in queues
        }
        back = time.time()
        for node in reversed(shard):
            node.restart() if how == "killed" else node.resume()
        load.wait_flowing(time.time())
        counts = load.drain()
    gaps = {queue: round(load.longest_gap(queue), 2) for queue in queues}
    report(
        dead_for=round(back - began, 1),
        acknowledged=counts.acknowledged,
        lost=len(counts.lost),
        done_meanwhile=done,
        longest_gap=gaps,
    )
    assert min(done[queue] for queue in alive) > 20
    assert max(gaps[queue] for queue in alive) < STALL
    assert gaps[dead] > DEAD_FOR
    assert [line for line in counts.lost if not began - 1 < line.at < back + 1] == []


async def test_each_operation_returns_the_answer_of_its_shard(own_cluster: Topology) -> None:
    queues = queues_of(own_cluster)
    options: dict[str, Any] = {"budget": timedelta(seconds=0.5), "connect_timeout": timedelta(seconds=0.5)}
    broker = RedisClusterBroker([node.address for node in own_cluster.nodes], **options)
    await broker.aexecute_many([enqueue("first", queue) for queue in queues])
    for node in shard_of(own_cluster, f"asynq:{{{queues[0]}}}:pending"):
        node.kill()
    answers = await broker.aexecute_many([enqueue("second", queue) for queue in queues])
    assert [type(answer) for answer in answers] == [BrokerUnavailable, Enqueued, Enqueued]
    deliveries = await broker.aexecute(Dequeue(orders=(tuple(queues),) * 10, token="t", lease=9000))
    assert len(deliveries) == 4
    with pytest.raises(BrokerUnavailable):
        await broker.aexecute(enqueue("third", queues[0]))
    await broker.aclose()
