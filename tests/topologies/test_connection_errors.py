"""On Sentinel and Cluster, a lost connection is BrokerUnavailable, and a bug is raised as itself."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Wake
from asynq_redis.operations.execution import HANDLERS
from asynq_redis.transport.io import AwaitedIO, BlockingIO
from tests.redis.conftest import face
from tests.redis.custom_operations import PROBES, Face, Send
from tests.redis.test_connection_errors import break_method, break_parser
from tests.topologies.test_connections import broker_on, enqueue
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_topologies import Topology

__all__ = ["face"]

BLOCKED = Send(("BLPOP", "asynq:{q}:empty", "0"))


@pytest.fixture(params=["sentinel", "cluster"])
def topology(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """Each kind of topology. Its brokers execute the operations of the tests."""
    for operation, handler in PROBES.items():
        monkeypatch.setitem(HANDLERS, operation, handler)
    made: Topology = request.getfixturevalue(request.param)
    return made


def test_connection_killed_under_a_running_call(topology: Topology, face: Face) -> None:
    primary = topology.primary_of("asynq:{q}:empty").client

    def kill() -> None:
        eventually(lambda: primary.info("clients")["blocked_clients"] == 1)
        primary.client_kill_filter(_type="normal", skipme=True)

    killer = threading.Thread(target=kill)
    killer.start()
    broker = broker_on(topology, budget=timedelta(0), socket_timeout=timedelta(seconds=30))
    with closing(broker), pytest.raises(BrokerUnavailable) as lost:
        face.ask(broker, BLOCKED)
    assert lost.value.maybe_applied
    killer.join()


@pytest.mark.parametrize("asking", [True, False], ids=["while asking for the primary", "on the primary"])
@pytest.mark.parametrize("method", ["_connect", "read_response"])
def test_bug_is_raised(
    topology: Topology, face: Face, monkeypatch: pytest.MonkeyPatch, method: str, asking: bool
) -> None:
    error = AttributeError("a bug")
    for kind in (BlockingIO, AwaitedIO):
        make = kind.connection

        def broken(self: Any, address: Any, settings: Any, make: Callable[..., Any] = make) -> Any:
            connection = make(self, address, settings)
            if (settings.max_connections == 1) is asking:
                break_method(connection, method, error)
            return connection

        monkeypatch.setattr(kind, "connection", broken)
    broker = broker_on(topology, budget=timedelta(0))
    with closing(broker), pytest.raises(AttributeError) as raised:
        face.ask(broker, enqueue("q"))
    assert raised.value is error


async def test_listener_raises_a_bug_and_continues(
    topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = broker_on(topology)
    listener = broker.listener()
    await listener.arm(["q"])
    assert await asyncio.wait_for(listener.next(), 5) == Wake()
    error = TypeError("a bug")
    with monkeypatch.context() as broken:
        break_parser(broken, error)
        topology.primary_of("asynq:{q}:pending").client.lpush("asynq:{q}:pending", "id")
        with pytest.raises(TypeError) as raised:
            await asyncio.wait_for(listener.next(), 5)
    assert raised.value is error
    assert await asyncio.wait_for(listener.next(), 5) == Wake()
    await listener.aclose()
    await broker.aclose()
