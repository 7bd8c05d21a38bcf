"""What one Redis server, or a replica alone, says of itself, and what it is warned of."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from asynq.protocol.ops import DescribeBroker
from asynq_redis import RedisBroker
from tests.servers import RedisServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from asynq.protocol.broker_info import BrokerInfo


def described(url: str, *queues: str, **options: object) -> BrokerInfo:
    with closing(RedisBroker(url, **options)) as broker:  # type: ignore[arg-type]
        return broker.execute(DescribeBroker(queues=queues))


def test_a_server_tells_its_version_memory_and_settings() -> None:
    arguments = ("--maxmemory", "50mb", "--maxmemory-policy", "noeviction", "--appendonly", "yes")
    with RedisServer.start(*arguments) as server:
        info = described(server.url, "q")
        said = server.client.info()
    (node,) = info.nodes
    assert (info.backend, info.topology, info.warnings) == ("redis", "standalone", ())
    assert info.version == node.version in said.values()
    assert (node.role, node.address) == ("primary", f"127.0.0.1:{server.port}")
    assert (node.memory_limit, node.eviction, node.evicted) == (50 << 20, "noeviction", 0)
    assert 0 < (node.memory_used or 0) < 50 << 20
    assert node.persistence.startswith("append-only file")
    assert node.uptime is not None
    assert (node.clients or 0) >= 1
    assert node.details["run_id"] == said["run_id"]
    (place,) = info.places
    assert (place.queue, place.node, place.replicas, place.slot) == ("q", node.address, (), None)


def test_settings_that_may_lose_tasks_are_warned_of() -> None:
    with RedisServer.start("--maxmemory-policy", "allkeys-lru", "--save", "") as server:
        info = described(server.url, min_replicas=1)
    assert info.nodes[0].persistence == "none"
    assert all(f"127.0.0.1:{server.port}: " in each for each in info.warnings)
    text = "\n".join(info.warnings)
    assert [word for word in ("noeviction", "appendonly", "min_replicas") if word not in text] == []


def test_evicted_keys_are_warned_of() -> None:
    with RedisServer.start("--maxmemory-policy", "allkeys-lru") as server:
        server.client.set("large", bytes(1 << 20))
        server.client.config_set("maxmemory", 1 << 20)
        eventually(lambda: server.client.exists("large") == 0)
        info = described(server.url)
    assert info.nodes[0].evicted == 1
    assert "it has evicted 1 keys" in "\n".join(info.warnings)


def test_a_replica_alone_names_its_primary() -> None:
    with RedisServer.start() as primary, RedisServer.start() as replica:
        replica.client.replicaof("127.0.0.1", primary.port)
        eventually(lambda: described(replica.url).nodes[0].link == "up")
        info = described(replica.url)
        eventually(lambda: [node.link for node in described(primary.url).nodes[1:]] == ["up"])
        whole = described(primary.url)
    (node,) = info.nodes
    assert (node.role, node.primary) == ("replica", f"127.0.0.1:{primary.port}")
    assert f"it is a read-only replica of 127.0.0.1:{primary.port}" in "\n".join(info.warnings)
    _, copy = whole.nodes
    assert (copy.role, copy.address) == ("replica", f"127.0.0.1:{replica.port}")
    assert (copy.primary, copy.link) == (whole.nodes[0].address, "up")
    assert copy.lag is not None
    assert copy.lag_bytes is not None


def test_a_user_who_may_not_ask_is_told_so() -> None:
    with RedisServer.start() as server:
        allowed = ["+@all", "-info", "-config"]
        server.client.acl_setuser(
            "worker", enabled=True, passwords=["+w"], keys=["*"], channels=["*"], commands=allowed
        )
        info = described(server.url, "q", username="worker", password="w")
    (node,) = info.nodes
    assert node.reachable
    assert (node.version, node.memory_used, info.version) == ("", None, "")
    assert "no permissions" in node.error
    assert "cannot be asked" in "\n".join(info.warnings)
    assert info.places[0].node == node.address
