"""Losses by a failover: a primary that lost its replicas acknowledges writes and dies.

The default mode can lose unreplicated writes, and does here. The safe modes do not acknowledge them.
"""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import AsynqError, BrokerUnavailable, NotReplicatedError
from asynq.protocol.ops import Enqueued
from asynq_redis import RedisClusterBroker, RedisSentinelBroker
from asynq_topologies.layout import MASTER
from tests.redis.custom_operations import enqueue
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_topologies import Topology
    from asynq_topologies.node import Node

PENDING = "asynq:{q}:pending"
COUNT = 30


def broker_on(topology: Topology, min_replicas: int) -> Any:
    options: dict[str, Any] = {
        "min_replicas": min_replicas,
        "replication_timeout": timedelta(milliseconds=100),
        "budget": timedelta(seconds=0.2),
    }
    if topology.kind == "cluster":
        return RedisClusterBroker([topology.nodes[0].address], **options)
    return RedisSentinelBroker([one.address for one in topology.sentinels], master=MASTER, **options)


def part(primary: Node, replicas: list[Node]) -> None:
    """Stop the replicas from receiving anything, including what is on its way."""
    for replica in replicas:
        replica.pause()
    primary.ask("CLIENT", "KILL", "TYPE", "replica")


def plain(primary: Node, replicas: int) -> int:
    return 0


def replicated(primary: Node, replicas: int) -> int:
    return replicas


def guarded(primary: Node, replicas: int) -> int:
    primary.ask("CONFIG", "SET", "min-replicas-to-write", 1)
    return 0


@pytest.mark.parametrize(
    ("mode", "answer", "acknowledged"),
    [(plain, Enqueued, COUNT), (replicated, NotReplicatedError, 0), (guarded, BrokerUnavailable, 0)],
)
def test_only_unreplicated_tasks_are_lost_and_none_if_replicas_are_required(
    own: Topology,
    mode: Callable[[Node, int], int],
    answer: type,
    acknowledged: int,
    report: Callable[..., None],
) -> None:
    primary = own.primary_of(PENDING)
    replicas = own.replicas_of(primary)
    with closing(broker_on(own, mode(primary, len(replicas)))) as broker:
        broker.execute(enqueue("before"))
        eventually(lambda: {node.ask("DBSIZE") for node in replicas} == {primary.ask("DBSIZE")})
        part(primary, replicas)
        answers = broker.execute_many([enqueue(f"{number}") for number in range(COUNT)])
        primary.kill()
        for replica in replicas:
            replica.resume()
        own.wait_replaced(primary)
        found = own.primary_of(PENDING).ask("LRANGE", PENDING, 0, -1)
    assert {type(one) for one in answers} == {answer}
    counted = sum(not isinstance(one, AsynqError) for one in answers)
    report(acknowledged=counted, lost=counted - (len(found) - 1))
    assert found == [b"before"]
    assert counted == acknowledged
