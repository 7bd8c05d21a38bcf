"""RedisBroker with threads, forks, event loops, many callers and large batches."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.clock import FakeClock
from asynq.errors import BrokerRefusedError, UnsupportedOperationError
from asynq.protocol.ops import ListQueues, Op, Ping
from asynq_redis import TLS, RedisBroker
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import COUNTER, Count, Echo, Face, Send
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer

pytestmark = pytest.mark.usefixtures("custom_operations")


def connections(server: RedisServer) -> int:
    """Number of clients of the server, without the one that asks."""
    return len(server.client.client_list()) - 1


def test_answers_are_in_the_order_of_the_requests(redis_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(redis_server.url)
    ops: list[Op[Any]] = [Echo(str(n)) if n % 3 else Count() for n in range(12)]
    expected = [str(n).encode() if n % 3 else n // 3 + 1 for n in range(12)]
    assert face.ask(broker, *ops) == expected
    broker.close()


def test_a_batch_of_many_writes_is_answered_in_order(redis_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(redis_server.url)
    assert face.ask(broker, *[Echo(str(n)) for n in range(1234)]) == [str(n).encode() for n in range(1234)]
    broker.close()


def test_an_empty_batch_needs_no_server(face: Face) -> None:
    assert face.ask(RedisBroker("redis://127.0.0.1:1")) == []


def test_an_error_reply_replaces_only_one_answer(redis_server: RedisServer, face: Face) -> None:
    redis_server.client.set("text", "x")
    broker = RedisBroker(redis_server.url)
    before, refused, after = face.ask(broker, Echo("1"), Send(("LPUSH", "text", "x")), Echo("2"))
    assert (before, after) == (b"1", b"2")
    assert isinstance(refused, BrokerRefusedError)
    assert "WRONGTYPE" in str(refused)
    broker.close()


def test_an_operation_without_a_handler_is_unsupported(redis_server: RedisServer, face: Face) -> None:
    class Unheard(Op[None], frozen=True):
        pass

    broker = RedisBroker(redis_server.url)
    refused, answer = face.ask(broker, Unheard(), Echo("1"))
    assert isinstance(refused, UnsupportedOperationError)
    assert refused.operation == "Unheard"
    assert answer == b"1"
    broker.close()


def test_threads_share_a_broker(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url, max_connections=3)

    def work(thread: int) -> list[bytes]:
        return [broker.execute(Echo(f"{thread}.{n}")) for n in range(50) if broker.execute(Count())]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(8)))
    assert answers == [[f"{thread}.{n}".encode() for n in range(50)] for thread in range(8)]
    assert redis_server.client.get(COUNTER) == b"400"
    broker.close()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_opens_its_own_connections(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    broker.execute(Ping())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, b"".join(broker.execute(Echo("child")) for _ in range(20)))
        finally:
            os._exit(0)
    ours = [broker.execute(Echo("parent")) for _ in range(20)]
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        assert pipe.read() == b"child" * 20
    assert ours == [b"parent"] * 20
    broker.close()


def test_event_loops_of_several_threads_share_a_broker(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)

    def work(thread: int) -> list[bytes]:
        async def main() -> list[bytes]:
            try:
                return [await broker.aexecute(Echo(f"{thread}.{n}")) for n in range(50)]
            finally:
                await broker.aclose()

        return asyncio.run(main())

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(work, range(4)))
    assert answers == [[f"{thread}.{n}".encode() for n in range(50)] for thread in range(4)]


async def test_blocking_and_async_calls_can_be_mixed(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    assert await broker.aexecute(Echo("a")) == b"a"
    assert await asyncio.to_thread(broker.execute, Echo("b")) == b"b"
    broker.close()
    await broker.aclose()


async def test_callers_wait_for_a_free_connection(redis_server: RedisServer) -> None:
    with Proxy(redis_server.port) as proxy:
        broker = RedisBroker(proxy.url, max_connections=3)
        answers = await asyncio.gather(*(broker.aexecute(Echo(str(n))) for n in range(200)))
        assert answers == [str(n).encode() for n in range(200)]
        assert proxy.connections <= 3
        await broker.aclose()


async def test_a_closed_broker_has_no_connection_and_can_be_used_again(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url)
    for _ in range(2):
        broker.execute(Ping())
        await broker.aexecute(Ping())
        assert connections(own_server) == 2
        broker.close()
        await broker.aclose()
        eventually(lambda: connections(own_server) == 0)


async def test_a_cancelled_call_leaves_no_reply_to_the_next(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url, max_connections=1)
    for n in range(20):
        own_server.pause()
        call = asyncio.create_task(broker.aexecute(Echo("cancelled")))
        for _ in range(n):  # so that each call is cancelled at a different point
            await asyncio.sleep(0)
        call.cancel()
        own_server.resume()
        assert await broker.aexecute(Echo(str(n))) == str(n).encode()
        assert call.cancelled()
    await broker.aclose()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """This also covers tests that a shell started in the background, where the signal is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_leaves_no_reply_to_the_next(
    own_server: RedisServer,
) -> None:
    broker = RedisBroker(own_server.url, max_connections=1)
    broker.execute(Ping())
    own_server.pause()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the interrupt may come early
        threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        broker.execute(Echo("interrupted"))
    own_server.resume()
    assert broker.execute(Echo("next")) == b"next"
    broker.close()


def test_a_broker_survives_pickling(redis_server: RedisServer, face: Face) -> None:
    clock = FakeClock(5)
    broker = RedisBroker(redis_server.url, clock=clock, budget=timedelta(seconds=1))
    face.ask(broker, Echo("so that there are connections"))
    copy: RedisBroker = pickle.loads(pickle.dumps(broker))  # noqa: S301 - our own
    assert repr(copy) == repr(broker)
    assert copy.clock is not None
    assert copy.clock.now() == 5
    assert face.ask(copy, Echo("x")) == [b"x"]
    broker.close()
    copy.close()


def test_options_take_precedence_over_the_url(own_server: RedisServer, face: Face) -> None:
    own_server.client.acl_setuser("me", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])
    url = own_server.url.replace("redis://", "redis://other:wrong@") + "/1"
    broker = RedisBroker(url, username="me", password="right", db=2)
    face.ask(broker, Count())
    assert own_server.client.info("keyspace").keys() == {"db2"}
    broker.close()


def test_a_unix_socket_works_like_a_port(own_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(f"unix://{own_server.socket_path}")
    assert face.ask(broker, Echo("x"), ListQueues()) == [b"x", ()]
    broker.close()


@pytest.mark.parametrize(
    ("options", "named", "kind"),
    [
        ({"budget": timedelta(seconds=-1)}, "budget", ValueError),
        ({"budget": 5}, "budget", TypeError),
        ({"connect_timeout": timedelta(0)}, "connect_timeout", ValueError),
        ({"socket_timeout": timedelta(0)}, "socket_timeout", ValueError),
        ({"max_connections": 0}, "max_connections", ValueError),
        ({"max_connections": 1.5}, "max_connections", TypeError),
        ({"db": -1}, "db", ValueError),
        ({"db": True}, "db", TypeError),
    ],
)
def test_an_invalid_broker_option_is_refused_by_name(options: Any, named: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=named):
        RedisBroker(**options)


def test_tls_to_a_server_without_tls_raises_a_broker_error(redis_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(
        redis_server.url,
        tls=TLS(verify=False),
        budget=timedelta(0),
        connect_timeout=timedelta(seconds=0.2),
        socket_timeout=timedelta(seconds=0.2),
    )
    with pytest.raises(Exception, match=r"127\.0\.0\.1") as failed:
        face.ask(broker, Ping())
    assert type(failed.value).__module__ == "asynq.errors"
    broker.close()
