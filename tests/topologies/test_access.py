"""TLS, passwords and a user with few rights, on servers and sentinels: a broker has full function."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, Inspector, ServeMux, Server, Task
from asynq.errors import BrokerRefusedError
from asynq.protocol.ops import Ping
from asynq_redis import TLS, RedisBroker, RedisClusterBroker, RedisSentinelBroker
from asynq_topologies import Access
from asynq_topologies.certificates import self_signed
from asynq_topologies.layout import HOST, MASTER
from tests.servers import start_topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq import Context
    from asynq_topologies import Topology
    from asynq_topologies.layout import TopologyKind


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Access:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    return Access(
        username="app",
        password="s3cret",
        sentinel_password="0ther",
        certificate=self_signed(tmp_path_factory.mktemp("tls")),
    )


@pytest.fixture(scope="module", params=["standalone", "sentinel", "cluster"])
def shared_guarded(request: pytest.FixtureRequest, access: Access) -> Iterator[Topology]:
    kind: TopologyKind = request.param
    try:
        topology = start_topology(kind, access=access)
    except RuntimeError as error:
        if "tls" not in str(error).lower():
            raise
        pytest.skip("this redis-server was built without TLS")
    with topology:
        yield topology


@pytest.fixture
def guarded(shared_guarded: Topology) -> Topology:
    """An empty and intact topology, whatever an earlier test did to it."""
    shared_guarded.wait_whole()
    shared_guarded.flush()
    return shared_guarded


def broker_on(topology: Topology, access: Access, **differences: Any) -> Any:
    assert access.certificate is not None
    options: dict[str, Any] = {
        "username": access.username,
        "password": access.password,
        "tls": TLS(ca_file=access.certificate.certificate),
    }
    if topology.kind == "standalone":
        return RedisBroker(f"redis://{HOST}:{topology.nodes[0].port}", **options | differences)
    if topology.kind == "cluster":
        return RedisClusterBroker([topology.nodes[0].address], **options | differences)
    options["sentinel_password"] = access.sentinel_password
    sentinels = [sentinel.address for sentinel in topology.sentinels]
    return RedisSentinelBroker(sentinels, master=MASTER, **options | differences)


async def test_tasks_run_and_can_be_inspected(guarded: Topology, access: Access) -> None:
    broker, done = broker_on(guarded, access), asyncio.Event()
    mux = ServeMux()

    @mux.handler("t")
    async def run(ctx: Context, task: Task) -> None:
        done.set()

    async with aclosing(broker):
        with closing(broker):
            server = Server(broker, queues={"a": 1, "b": 1})
            await server.start(mux)
            await broker.aexecute(Ping())
            await asyncio.to_thread(Client(broker).enqueue, Task("t"), queue="a")
            async with asyncio.timeout(10):
                await done.wait()
            await server.shutdown()
            inspector = Inspector(broker)
            assert list(await asyncio.to_thread(inspector.queues)) == ["a"]
            assert await asyncio.to_thread(lambda: list(inspector.doctor())) == []


def test_clients_follow_a_failover(guarded: Topology, access: Access) -> None:
    if guarded.kind == "standalone":
        pytest.skip("nobody takes over from a single server")
    with closing(broker_on(guarded, access)) as broker:
        client = Client(broker)
        client.enqueue(Task("t"), queue="q")
        guarded.fail_over(guarded.primary_of("asynq:{q}:pending"))
        client.enqueue(Task("t"), queue="q")


@pytest.mark.parametrize("wrong", ["password", "username", "sentinel_password"])
def test_wrong_secrets_are_refused_and_not_shown(wrong: str, guarded: Topology, access: Access) -> None:
    if wrong == "sentinel_password" and guarded.kind != "sentinel":
        pytest.skip("only sentinels have one")
    with closing(broker_on(guarded, access, **{wrong: "wr0ng"})) as broker:
        with pytest.raises(BrokerRefusedError) as refused:
            broker.execute(Ping())
        for told in (str(refused.value), repr(broker), repr(access)):
            assert not any(secret in told for secret in ("wr0ng", "s3cret", "0ther"))


def test_untrusted_servers_are_refused(guarded: Topology, access: Access) -> None:
    with (
        closing(broker_on(guarded, access, tls=TLS())) as broker,
        pytest.raises(BrokerRefusedError, match="certificate"),
    ):
        broker.execute(Ping())
