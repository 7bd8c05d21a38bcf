"""What the nodes behind Sentinel and of a Cluster say of themselves, also when some of them are dead."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from typer.testing import CliRunner

from asynq import Client, Task
from asynq.cli.main import app
from asynq.protocol.connect import connect
from asynq.protocol.ops import DescribeBroker
from asynq_redis.transport.cluster import SLOTS, slot_of
from tests.topologies.conftest import queues_of
from tests.waiting import eventually

if TYPE_CHECKING:
    from asynq.protocol.broker_info import BrokerInfo
    from asynq_topologies import Topology


def described(topology: Topology, *queues: str) -> BrokerInfo:
    broker: Any = connect(topology.url)
    with closing(broker):
        info: BrokerInfo = broker.execute(DescribeBroker(queues=queues))
        return info


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_behind_sentinel_all_nodes_are_described(own_sentinel: Topology) -> None:
    own_sentinel.wait_whole()
    info = described(own_sentinel, "q")
    (primary,) = own_sentinel.primaries()
    first, *others = info.nodes
    assert (info.topology, first.role, port_of(first.address)) == ("sentinel", "primary", primary.port)
    replicas = [node for node in others if node.role == "replica"]
    assert {port_of(node.address) for node in replicas} == {
        node.port for node in own_sentinel.replicas_of(primary)
    }
    assert {node.link for node in replicas} == {"up"}
    sentinels = [node for node in others if node.role == "sentinel"]
    assert len(sentinels) + len(replicas) == len(others)
    assert all(node.reachable for node in sentinels)
    assert info.places[0].node == first.address
    assert set(info.places[0].replicas) == {node.address for node in replicas}


def test_a_sentinel_that_does_not_answer_is_named(own_sentinel: Topology) -> None:
    dead = own_sentinel.sentinels[0]
    dead.kill()
    info = described(own_sentinel)
    (silent,) = [node for node in info.nodes if not node.reachable]
    assert (silent.role, port_of(silent.address)) == ("sentinel", dead.port)
    assert f"the sentinel at {silent.address} does not answer" in info.warnings


def test_a_cluster_tells_its_slots_and_where_queues_are(cluster: Topology) -> None:
    cluster.wait_whole()
    queues = queues_of(cluster)
    info = described(cluster, *queues)
    assert (info.topology, info.details["cluster_state"]) == ("cluster", "ok")
    primaries = [node for node in info.nodes if node.role == "primary"]
    assert {port_of(node.address) for node in primaries} == {node.port for node in cluster.primaries()}
    held = sorted(each for node in primaries for each in node.slots)
    assert sum(last - first + 1 for first, last in held) == SLOTS
    assert all(node.version and node.memory_used for node in primaries)
    for place in info.places:
        key = f"asynq:{{{place.queue}}}:pending"
        primary = cluster.primary_of(key)
        assert (port_of(place.node), place.slot) == (primary.port, slot_of(key))
        copies = {port_of(each) for each in place.replicas}
        assert copies == {node.port for node in cluster.replicas_of(primary)}


def test_a_dead_shard_does_not_hide_the_others(own_cluster: Topology) -> None:
    dead = own_cluster.primary_of("asynq:{q}:pending")
    for replica in own_cluster.replicas_of(dead):
        replica.kill()
    dead.kill()
    eventually(lambda: len(described(own_cluster).warnings) > 0)
    info = described(own_cluster, "q")
    states = {port_of(node.address): node.reachable for node in info.nodes if node.role == "primary"}
    assert states.pop(dead.port) is False
    assert all(states.values())
    assert f":{dead.port}: it cannot be asked how it is doing" in "\n".join(info.warnings)
    assert port_of(info.places[0].node) == dead.port


def test_the_command_line_shows_slots_and_nodes(cluster: Topology) -> None:
    queues = queues_of(cluster)
    broker: Any = connect(cluster.url)
    with closing(broker):
        for queue in queues:
            Client(broker).enqueue(Task("t"), queue=queue)
    environment = {"ASYNQ_BROKER": cluster.url, "COLUMNS": "250"}
    listed = CliRunner().invoke(app, ["queue", "ls"], env=environment, catch_exceptions=False).stdout
    assert listed.splitlines()[0].split()[-2:] == ["slot", "node"]
    for line in listed.splitlines()[1:]:
        queue, *_, slot, node = line.split()
        key = f"asynq:{{{queue}}}:pending"
        assert (int(slot), port_of(node)) == (slot_of(key), cluster.primary_of(key).port)
    page = CliRunner().invoke(app, ["broker"], env=environment, catch_exceptions=False).stdout
    assert all(f":{node.port} " in page for node in cluster.primaries())
