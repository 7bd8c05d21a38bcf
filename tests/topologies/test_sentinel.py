"""The primary named by the sentinels is used: which of them is asked, which is believed, and the errors."""

from __future__ import annotations

import pickle
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynq_topologies
from asynq.errors import BrokerRefusedError, BrokerUnavailable
from asynq.protocol.connect import connect
from asynq.protocol.ops import Ping
from asynq_redis import RedisSentinelBroker
from asynq_redis.transport.io import AwaitedIO, ConnectionSettings
from asynq_redis.transport.routing import DISCOVERY_TIMEOUT
from asynq_redis.transport.sentinel import CONFIRM_INTERVAL as CONFIRM_SECONDS
from asynq_redis.transport.sentinel import SentinelRouter
from asynq_redis.url import Address
from asynq_topologies.layout import MASTER
from asynq_topologies.node import wait_until
from asynq_topologies.ports import free_port
from tests.redis.custom_operations import enqueue
from tests.servers import start_topology
from tests.waiting import eventually

if TYPE_CHECKING:
    from asynq_topologies import Topology
    from asynq_topologies.node import Node

SHORT = timedelta(seconds=0.5)
NOWHERE = ("127.0.0.1", 1)
PENDING = "asynq:{q}:pending"

CONFIRM_INTERVAL = "asynq_redis.transport.sentinel.CONFIRM_INTERVAL"
"""Bounds how long a broker uses a primary before it asks again."""


def sentinels(topology: Topology) -> list[tuple[str, int]]:
    return [sentinel.address for sentinel in topology.sentinels]


def test_unreachable_sentinels_are_skipped(sentinel: Topology, face: Any) -> None:
    broker = RedisSentinelBroker([NOWHERE, *sentinels(sentinel)], master=MASTER)
    face.ask(broker, Ping())
    broker.close()


def test_without_any_sentinel_the_broker_is_unavailable(face: Any) -> None:
    broker = RedisSentinelBroker([NOWHERE], master=MASTER, budget=SHORT)
    with pytest.raises(BrokerUnavailable):
        face.ask(broker, Ping())


def test_a_name_unknown_to_the_sentinels_is_refused_at_once(sentinel: Topology, face: Any) -> None:
    broker = RedisSentinelBroker(sentinels(sentinel), master="another")
    began = time.monotonic()
    with pytest.raises(BrokerRefusedError, match="another"):
        face.ask(broker, Ping())
    assert time.monotonic() - began < 2
    broker.close()


def test_a_known_primary_is_used_while_all_sentinels_are_unreachable(
    own_sentinel: Topology, face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CONFIRM_INTERVAL, 0)
    broker = RedisSentinelBroker(sentinels(own_sentinel), master=MASTER)
    broker.execute(enqueue("before"))
    for one in own_sentinel.sentinels:
        one.kill()
    broker.execute(enqueue("after"))
    assert own_sentinel.nodes[0].client.llen("asynq:{q}:pending") == 2
    broker.close()


def test_a_stalled_primary_is_left_even_when_it_continues(own_sentinel: Topology) -> None:
    old = own_sentinel.primaries()[0]
    replicas = own_sentinel.replicas_of(old)
    with closing(RedisSentinelBroker(sentinels(own_sentinel), master=MASTER)) as broker:
        broker.execute(enqueue("before"))
        eventually(lambda: all(replica.client.llen(PENDING) == 1 for replica in replicas))
        old.pause()
        own_sentinel.wait_replaced(old)
        old.resume()
        # It has not been demoted yet, so it would accept the task and lose it later.
        assert old.role() == "master"
        broker.execute(enqueue("after"))
    assert own_sentinel.primaries()[0].client.llen(PENDING) == 2
    assert old.client.llen(PENDING) == 1


def test_a_new_primary_is_used_before_the_end_of_the_failover(own_sentinel: Topology, face: Any) -> None:
    old = own_sentinel.primaries()[0]
    replicas = own_sentinel.replicas_of(old)
    for replica in replicas:
        # Whichever takes over, the other cannot copy from it, and the sentinels wait for that one.
        replica.ask("ACL", "SETUSER", "default", "-psync", "-sync")
    with closing(RedisSentinelBroker(sentinels(own_sentinel), master=MASTER, budget=SHORT)) as broker:
        old.kill()
        own_sentinel.wait_replaced(old)
        face.ask(broker, enqueue("after"))
    assert sum(replica.client.llen(PENDING) for replica in replicas) == 1


def test_the_latest_configuration_is_used_despite_an_outdated_sentinel(
    face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CONFIRM_INTERVAL, 0)
    access = asynq_topologies.Access(password="s3cret")
    with start_topology("sentinel", access=access) as topology:
        old, (stale, told, _) = topology.primaries()[0], topology.sentinels
        cut_off(stale, topology)
        made = RedisSentinelBroker(sentinels(topology), master=MASTER, password="s3cret")
        with closing(made) as broker:
            broker.execute(enqueue("before"))
            old.pause()
            wait_until(lambda: port_named_by(told) != old.port, "the failover")
            old.resume()
            face.ask(broker, enqueue("after"))
        assert port_named_by(stale) == old.port
        assert old.client.lpos(PENDING, "after") is None


def cut_off(sentinel: Node, topology: Topology) -> None:
    """Isolated: it receives no command and does nothing on its own."""
    sentinel.ask("SENTINEL", "SET", MASTER, "quorum", 4)
    sentinel.ask("SENTINEL", "SET", MASTER, "auth-pass", "wrong")
    sentinel.ask("ACL", "SETUSER", "default", "-publish")
    for node in topology.nodes:
        node.ask("CLIENT", "KILL", "TYPE", "pubsub")


def port_named_by(sentinel: Node) -> int:
    return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1])


def test_a_hanging_sentinel_costs_its_timeout_once(own_sentinel: Topology) -> None:
    own_sentinel.sentinels[0].pause()
    slow = 0
    with closing(RedisSentinelBroker(sentinels(own_sentinel), master=MASTER)) as broker:
        until = time.monotonic() + 6.0
        while (asked := time.monotonic()) < until:
            broker.execute(Ping())
            slow += time.monotonic() - asked >= DISCOVERY_TIMEOUT
    own_sentinel.sentinels[0].resume()
    assert slow <= 2  # the machine may also have been slow


class LateReader(dict[Any, Any]):
    """Addresses, looked up once for each report of a sentinel. Each is read late, as on a busy machine."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.reports = 0

    def get(self, address: Any, default: Any = None) -> Any:
        self.now += CONFIRM_SECONDS / 2
        self.reports += 1
        return super().get(address, default)


async def test_a_report_is_as_old_as_its_question(sentinel: Topology) -> None:
    """The primary may have been replaced since, and accepts writes until it is demoted."""
    late = LateReader()
    [one, *_] = sentinels(sentinel)
    router = SentinelRouter(
        [Address(*one)],
        MASTER,
        AwaitedIO(),
        ConnectionSettings(connect_timeout=10, socket_timeout=10, max_connections=1),
        remap=late,
        monotonic=lambda: late.now,
    )
    await router.route([])
    late.now = CONFIRM_SECONDS
    await router.route([])
    assert late.reports == 2
    await router.close()


def test_passwords_of_servers_and_sentinels_are_separate_and_never_shown() -> None:
    access = asynq_topologies.Access(password="s3cret", sentinel_password="0ther")
    with start_topology("sentinel", access=access) as topology:
        broker = connect(topology.url)
        broker.execute(Ping())
        assert not {"s3cret", "0ther"} & set(repr(broker).split())
        broker.close()
        wrong = RedisSentinelBroker(
            sentinels(topology), master=MASTER, password="s3cret", sentinel_password="wr0ng"
        )
        with pytest.raises(BrokerRefusedError) as refused:
            wrong.execute(Ping())
        assert "wr0ng" not in str(refused.value)
        wrong.close()


def test_a_pickled_broker_translates_addresses(sentinel: Topology) -> None:
    nobody = ("127.0.0.1", free_port())
    remap = {sentinel.primaries()[0].address: nobody, nobody: sentinel.primaries()[0].address}
    made = RedisSentinelBroker(
        sentinels(sentinel), master=MASTER, address_remap=remap, budget=timedelta(0), password="s3cret"
    )
    broker: RedisSentinelBroker = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own
    with pytest.raises(BrokerUnavailable, match=str(nobody[1])):
        broker.execute(Ping())
    assert "s3cret" not in repr(broker)
    broker.close()


@pytest.mark.parametrize(
    ("given", "error"),
    [([], ValueError), ("h:1", TypeError), ([("h",)], TypeError), ([("h", 0)], ValueError)],
)
def test_an_invalid_option_is_refused_by_its_name(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="sentinels"):
        RedisSentinelBroker(given, master=MASTER)
