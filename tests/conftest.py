"""Fixtures all tests share: real servers, one for each worker process of a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import asynq_topologies
from tests.servers import OVERRIDE, RedisServer, require_redis_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_topologies import Topology


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """The Redis server of this process. What is in it belongs to other tests: use `redis_server`."""
    if OVERRIDE in os.environ and os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") != "1":
        pytest.fail(f"{OVERRIDE} names one server, which tests empty: run them in one process, without -n")
    server = RedisServer.for_tests()
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """An empty Redis server. Tests that stop, pause or configure one start their own."""
    shared_redis.flush()
    return shared_redis


@pytest.fixture(scope="session")
def shared_sentinel() -> Iterator[Topology]:
    """A primary, replicas, sentinels. Tests use `sentinel`; those that break it start their own."""
    with asynq_topologies.start("sentinel", executable=require_redis_server()) as topology:
        yield topology


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Topology]:
    """A cluster. Tests use `cluster`; those that break it start their own."""
    with asynq_topologies.start("cluster", executable=require_redis_server()) as topology:
        yield topology


@pytest.fixture
def sentinel(shared_sentinel: Topology) -> Topology:
    """An empty store behind sentinels, which stays as it is."""
    shared_sentinel.flush()
    return shared_sentinel


@pytest.fixture
def cluster(shared_cluster: Topology) -> Topology:
    """An empty cluster, which stays as it is."""
    shared_cluster.flush()
    return shared_cluster
