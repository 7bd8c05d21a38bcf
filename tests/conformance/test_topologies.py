"""The laws of a broker, on Sentinel and on a Cluster: what holds on one server holds on several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis
from attrs import frozen

from asynq_conformance import BrokerConformance
from asynq_redis import RedisClusterBroker, RedisSentinelBroker
from asynq_topologies.layout import MASTER
from tests.conformance.test_redis import RedisHarness

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.clock import FakeClock
    from asynq_conformance import Harness
    from asynq_topologies import Topology


@frozen
class Door:
    """What a harness needs of a topology for its damage: redis-py's own client, which finds the servers."""

    url: str
    client: Any


class SentinelHarness(RedisHarness):
    machine_share = 0.1

    def __init__(self, topology: Topology) -> None:
        super().__init__(Door(topology.url, topology.primaries()[0].client))  # type: ignore[arg-type]
        self.topology = topology

    def flush(self) -> None:
        self.topology.flush()

    def reopen(self, clock: FakeClock) -> Any:
        sentinels = [sentinel.address for sentinel in self.topology.sentinels]
        return RedisSentinelBroker(sentinels, master=MASTER, clock=clock)


class ClusterHarness(RedisHarness):
    machine_share = 0.1

    def __init__(self, topology: Topology, client: Any) -> None:
        super().__init__(Door(topology.url, client))  # type: ignore[arg-type]
        self.topology = topology
        self.nodes = [node.client for node in topology.primaries()]

    def flush(self) -> None:
        for client in self.nodes:
            client.flushall()

    def clients(self) -> Sequence[Any]:
        return self.nodes

    def about(self) -> dict[str, str]:
        return {"server": f"redis {self.topology.nodes[0].info('server')['redis_version']}"}

    def reopen(self, clock: FakeClock) -> Any:
        return RedisClusterBroker([self.topology.nodes[0].address], clock=clock)


@pytest.fixture(scope="module")
def cluster_client(shared_cluster: Topology) -> Iterator[Any]:
    """redis-py's own."""
    host, port = shared_cluster.nodes[0].address
    client = redis.RedisCluster(host=host, port=port)
    yield client
    client.close()


class TestSentinel(BrokerConformance):
    @pytest.fixture
    def harness(self, sentinel: Topology) -> Harness:
        return SentinelHarness(sentinel)


class TestCluster(BrokerConformance):
    @pytest.fixture
    def harness(self, cluster: Topology, cluster_client: Any) -> Harness:
        return ClusterHarness(cluster, cluster_client)
