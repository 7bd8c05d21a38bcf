"""The laws of a broker, on a real Redis server, behind Sentinel, and on a Cluster."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from asynq_conformance import BrokerConformance
from asynq_redis.harness import RedisHarness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_topologies import Topology
    from tests.servers import RedisServer


class TestRedis(BrokerConformance):
    column = "standalone"

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, shared_redis: RedisServer) -> Iterator[RedisHarness]:
        with closing(RedisHarness(shared_redis.url)) as harness:
            yield harness


class TestSentinel(BrokerConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, shared_sentinel: Topology) -> Iterator[RedisHarness]:
        with closing(RedisHarness(shared_sentinel.url)) as harness:
            yield harness


class TestCluster(BrokerConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, shared_cluster: Topology) -> Iterator[RedisHarness]:
        with closing(RedisHarness(shared_cluster.url)) as harness:
            yield harness
