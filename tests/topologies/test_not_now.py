"""Temporary refusals of servers, for all possible reasons: a call waits until they end."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from redis.crc import key_slot

from asynq.errors import BrokerUnavailable
from asynq.protocol.connect import connect
from asynq_redis import RedisClusterBroker, RedisSentinelBroker
from asynq_topologies.layout import MASTER
from tests.redis.custom_operations import enqueue
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq_topologies import Topology
    from asynq_topologies.node import Node

KEY = "asynq:{q}:pending"


def refusals(node: Node, code: str) -> int:
    """How often a server has answered with this error."""
    found: dict[str, Any] = node.info("errorstats").get(f"errorstat_{code}", {"count": 0})
    return int(found["count"])


@pytest.fixture(params=["sentinel", "cluster"])
def topology(request: pytest.FixtureRequest) -> Iterator[Topology]:
    topology: Topology = request.getfixturevalue(request.param)
    topology.wait_whole()
    yield topology
    topology.wait_whole()


@contextmanager
def until_refused(node: Node, code: str, mend: Callable[[], object]) -> Iterator[None]:
    """The block is refused at least once before the cause is removed."""
    before = refusals(node, code)

    def wait_and_mend() -> None:
        try:
            eventually(lambda: refusals(node, code) > before)
        finally:
            mend()

    thread = threading.Thread(target=wait_and_mend)
    thread.start()
    yield
    thread.join()
    assert refusals(node, code) > before


def enqueued(topology: Topology) -> int:
    count: int = topology.primary_of(KEY).ask("LLEN", KEY)
    return count


def test_a_call_waits_during_noreplicas(topology: Topology) -> None:
    broker, primary = connect(topology.url), topology.primary_of(KEY)
    broker.execute(enqueue("before"))
    primary.ask("CONFIG", "SET", "min-replicas-to-write", 5)
    with until_refused(
        primary, "NOREPLICAS", lambda: primary.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    ):
        broker.execute(enqueue("after"))
    assert enqueued(topology) == 2
    broker.close()


def test_noreplicas_beyond_the_budget_is_unavailable_and_changes_nothing(topology: Topology) -> None:
    options: dict[str, Any] = {"budget": timedelta(seconds=0.3)}
    broker = (
        RedisClusterBroker([topology.nodes[0].address], **options)
        if topology.kind == "cluster"
        else RedisSentinelBroker([one.address for one in topology.sentinels], master=MASTER, **options)
    )
    primary = topology.primary_of(KEY)
    primary.ask("CONFIG", "SET", "min-replicas-to-write", 5)
    try:
        with pytest.raises(BrokerUnavailable, match="NOREPLICAS") as failed:
            broker.execute(enqueue("a"))
    finally:
        primary.ask("CONFIG", "SET", "min-replicas-to-write", 0)
    assert not failed.value.maybe_applied
    assert enqueued(topology) == 0
    broker.close()


@pytest.mark.parametrize(("code", "stale"), [("READONLY", "yes"), ("MASTERDOWN", "no")])
def test_a_call_waits_for_a_primary_that_became_a_replica(sentinel: Topology, code: str, stale: str) -> None:
    sentinel.wait_whole()
    broker, primary = connect(sentinel.url), sentinel.primary_of(KEY)
    broker.execute(enqueue("before"))

    def mend() -> None:
        primary.ask("REPLICAOF", "NO", "ONE")
        primary.ask("CONFIG", "SET", "replica-serve-stale-data", "yes")

    primary.ask("CONFIG", "SET", "replica-serve-stale-data", stale)
    primary.ask("REPLICAOF", "127.0.0.1", 1)
    with until_refused(primary, code, mend):
        broker.execute(enqueue("after"))
    assert enqueued(sentinel) == 2
    broker.close()
    sentinel.wait_whole()


def test_a_call_waits_for_an_unassigned_slot(cluster: Topology) -> None:
    broker, primary = connect(cluster.url), cluster.primary_of(KEY)
    broker.execute(enqueue("before"))
    slot = key_slot(KEY.encode())
    primary.ask("CLUSTER", "DELSLOTS", slot)
    with until_refused(primary, "CLUSTERDOWN", lambda: primary.ask("CLUSTER", "ADDSLOTS", slot)):
        broker.execute(enqueue("after"))
    cluster.wait_whole()
    assert enqueued(cluster) == 2
    broker.close()
