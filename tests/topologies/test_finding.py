"""The nodes of a cluster are found through any node that answers, with one request, and found again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from asynq.protocol.ops import Ping
from asynq_redis import RedisClusterBroker
from tests.redis.custom_operations import enqueue
from tests.topologies.conftest import queues_of

if TYPE_CHECKING:
    from asynq_topologies import Topology

NOWHERE = ("127.0.0.1", 1)
THREADS = 20


def questions(topology: Topology) -> int:
    """How often the nodes were asked for the slots, including by the test."""
    stats = (node.info("commandstats").get("cmdstat_cluster|slots", {"calls": 0}) for node in topology.nodes)
    return sum(one["calls"] for one in stats)


def test_concurrent_callers_share_one_lookup(cluster: Topology) -> None:
    before = questions(cluster)
    with closing(RedisClusterBroker([node.address for node in cluster.nodes])) as broker:
        together = threading.Barrier(THREADS)

        def ask(_: int) -> None:
            together.wait()
            broker.execute(Ping())

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(ask, range(THREADS)))
    assert questions(cluster) == before + 1


def test_unreachable_nodes_are_skipped(cluster: Topology) -> None:
    with closing(RedisClusterBroker([NOWHERE, cluster.nodes[-1].address])) as broker:
        broker.execute(Ping())


def test_a_cluster_is_found_again_after_an_outage(own_cluster: Topology) -> None:
    queues = queues_of(own_cluster)
    seeds = [own_cluster.nodes[0].address]
    # Whichever node is primary afterwards has the earlier data.
    with closing(RedisClusterBroker(seeds, min_replicas=1)) as careful:
        careful.execute_many([enqueue("before", queue) for queue in queues])
    made = RedisClusterBroker(seeds, budget=timedelta(seconds=60))
    with closing(made) as broker, ThreadPoolExecutor(1) as pool:
        for node in own_cluster.nodes:
            node.kill()
        answers = pool.submit(broker.execute_many, [enqueue("after", queue) for queue in queues])
        for node in own_cluster.nodes:
            node.restart()
        assert [type(answer).__name__ for answer in answers.result(90)] == ["Enqueued"] * len(queues)
    for queue in queues:
        key = f"asynq:{{{queue}}}:pending"
        assert own_cluster.primary_of(key).ask("LLEN", key) == 2
