"""A lost connection is BrokerUnavailable; a bug in redis-py or in this package is raised as itself."""

from __future__ import annotations

import asyncio
import inspect
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Wake
from asynq_redis import RedisBroker
from asynq_redis.events.push_connection import PushConnection
from asynq_redis.transport.io import AwaitedIO, BlockingIO
from tests.redis.custom_operations import Echo, Face, Send
from tests.redis.test_listener import heard, listener_to
from tests.redis.test_watcher import done, watcher_to
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.servers import RedisServer

pytestmark = pytest.mark.usefixtures("custom_operations")

BLOCKED = Send(("BLPOP", "empty", "0"))
"""A call that runs until its connection is lost."""

Connections = list[Any]


def recorded(monkeypatch: pytest.MonkeyPatch, method: str) -> list[Any]:
    """All that this method of ConnectionIO returns, in order."""
    made: list[Any] = []
    for kind in (BlockingIO, AwaitedIO):
        make = getattr(kind, method)

        def recording(self: Any, *args: Any, make: Callable[..., Any] = make) -> Any:
            made.append(make(self, *args))
            return made[-1]

        monkeypatch.setattr(kind, method, recording)
    return made


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> Connections:
    """All redis-py connections that brokers make, in order."""
    return recorded(monkeypatch, "connection")


def blocked(server: RedisServer) -> bool:
    count: int = server.client.info("clients")["blocked_clients"]
    return count == 1


def test_a_connection_killed_by_the_server_raises_broker_unavailable(
    own_server: RedisServer, face: Face
) -> None:
    broker = RedisBroker(own_server.url, budget=timedelta(0), socket_timeout=timedelta(seconds=30))

    def kill() -> None:
        eventually(lambda: blocked(own_server))
        own_server.client.client_kill_filter(_type="normal", skipme=True)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(BrokerUnavailable) as lost:
        face.ask(broker, BLOCKED)
    assert lost.value.maybe_applied
    killer.join()
    broker.close()


def test_a_blocking_connection_lost_during_a_call_raises_broker_unavailable(
    own_server: RedisServer, connections: Connections
) -> None:
    broker = RedisBroker(own_server.url, budget=timedelta(0), socket_timeout=timedelta(seconds=30))

    def disconnect() -> None:
        eventually(lambda: blocked(own_server))
        BlockingIO().drop(connections[-1], "running")

    thread = threading.Thread(target=disconnect)
    thread.start()
    with pytest.raises(BrokerUnavailable) as lost:
        broker.execute(BLOCKED)
    assert lost.value.maybe_applied
    thread.join()
    broker.close()


async def test_an_async_connection_lost_during_a_call_raises_broker_unavailable(
    own_server: RedisServer, connections: Connections
) -> None:
    broker = RedisBroker(own_server.url, budget=timedelta(0), socket_timeout=timedelta(seconds=30))
    call = asyncio.create_task(broker.aexecute(BLOCKED))
    await aeventually(lambda: blocked(own_server))
    AwaitedIO().drop(connections[-1], "running")
    with pytest.raises(BrokerUnavailable) as lost:
        await call
    assert lost.value.maybe_applied
    await broker.aclose()


def break_method(connection: Any, method: str, error: Exception) -> None:
    """Replace a method of a redis-py connection by one that raises, in the form its kind has."""
    if inspect.iscoroutinefunction(getattr(connection, method)):

        async def broken(*_: Any, **__: Any) -> None:
            raise error
    else:

        def broken(*_: Any, **__: Any) -> None:  # type: ignore[misc]
            raise error

    setattr(connection, method, broken)


@pytest.mark.parametrize("error", [AttributeError("a bug"), TypeError("a bug")], ids=["attribute", "type"])
@pytest.mark.parametrize("method", ["_connect", "send_packed_command", "read_response"])
def test_bug_while_connecting_is_raised(
    redis_server: RedisServer, face: Face, monkeypatch: pytest.MonkeyPatch, method: str, error: Exception
) -> None:
    for kind in (BlockingIO, AwaitedIO):
        make = kind.connection

        def broken(self: Any, *args: Any, make: Callable[..., Any] = make) -> Any:
            connection = make(self, *args)
            break_method(connection, method, error)
            return connection

        monkeypatch.setattr(kind, "connection", broken)
    broker = RedisBroker(redis_server.url, budget=timedelta(0))
    with pytest.raises(type(error)) as raised:
        face.ask(broker, Echo("x"))
    assert raised.value is error
    broker.close()


class BrokenReader:
    """A parser of replies with a bug."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def has_data(self) -> bool:
        return False

    def feed(self, data: bytes) -> None:
        raise self._error


@pytest.mark.parametrize("error", [AttributeError("a bug"), TypeError("a bug")], ids=["attribute", "type"])
async def test_bug_on_an_open_connection_is_raised_and_the_connection_is_closed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    links = recorded(monkeypatch, "link")
    broker = RedisBroker(redis_server.url, budget=timedelta(0))
    broker.execute(Echo("x"))
    await broker.aexecute(Echo("x"))
    blocking, awaiting = links
    for link in links:
        link._reader = BrokenReader(error)
    with pytest.raises(type(error)) as raised:
        broker.execute(Echo("x"))
    assert raised.value is error
    with pytest.raises(type(error)) as raised:
        await broker.aexecute(Echo("x"))
    assert raised.value is error
    assert blocking.connection._sock is None
    assert not awaiting.connection.is_connected
    assert broker.execute(Echo("still works")) == b"still works"
    assert await broker.aexecute(Echo("still works")) == b"still works"
    broker.close()
    await broker.aclose()


async def test_listener_raises_a_bug_and_continues(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listener_to(own_server.url)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    error = TypeError("a bug")
    with monkeypatch.context() as broken:
        break_parser(broken, error)
        own_server.client.lpush("asynq:{q}:pending", "id")
        with pytest.raises(TypeError) as raised:
            await heard(listener)
    assert raised.value is error
    assert await heard(listener) == Wake()
    await listener.aclose()


async def test_watcher_raises_a_bug_and_continues(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = watcher_to(own_server.url)
    error = AttributeError("a bug")
    with monkeypatch.context() as broken:
        break_parser(broken, error)
        with pytest.raises(AttributeError) as raised:
            await watcher.watch("q", "t")
    assert raised.value is error
    change = await watcher.watch("q", "t")
    assert not change.done()
    await watcher.aclose()


async def test_bug_in_an_open_watcher_reaches_the_exception_handler(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, logged = watcher_to(own_server.url), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    change = await watcher.watch("q", "t")
    error = AttributeError("a bug")
    with monkeypatch.context() as broken:
        break_parser(broken, error)
        own_server.client.hset("asynq:{q}:t:t", "state", "active")
        assert await done(change)
    await aeventually(lambda: [context["exception"] for context in logged] == [error])
    await watcher.aclose()


def break_parser(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def broken(_: PushConnection) -> None:
        raise error

    monkeypatch.setattr(PushConnection, "_parse_push", broken)
