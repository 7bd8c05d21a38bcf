"""Host names are resolved before a connection is made, and resolution can be cancelled."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

import asynq
from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import Ping
from asynq_redis.events.push_connection import PushConnection
from asynq_redis.transport.io import ConnectionSettings
from asynq_redis.transport.name_resolution import resolve
from asynq_redis.url import Address

if TYPE_CHECKING:
    from tests.servers import RedisServer

NO_HOST = "-x"
"""A name without an address, for which no name server is asked."""
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
URLS = {
    "standalone": f"redis://{NO_HOST}",
    "sentinel": f"redis-sentinel://{NO_HOST},{NO_HOST}:1/?master=mymaster",
    "cluster": f"redis-cluster://{NO_HOST},{NO_HOST}:1",
}


async def resolution_failed() -> None:
    """Wait until all earlier resolutions have ended."""
    for _ in range(10):
        with pytest.raises(OSError, match=r"Name or service not known|nodename nor servname"):
            await asyncio.get_running_loop().getaddrinfo(NO_HOST, 1)


async def broker_asked(url: str) -> None:
    broker = asynq.connect(url)
    try:
        await broker.aexecute(Ping())
    finally:
        await broker.aclose()
        broker.close()


async def listener_opened() -> None:
    settings = ConnectionSettings(connect_timeout=5, socket_timeout=5, max_connections=1)
    await PushConnection.open(Address(NO_HOST), settings, lambda _: None)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("what", [*URLS, "listener"])
def test_connecting_can_be_cancelled_without_leftovers(
    loop: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While a name server does not answer, every attempt to connect ends like this."""
    caplog.set_level(logging.WARNING, "asyncio")

    async def cancelled(after: int) -> None:
        task = asyncio.create_task(listener_opened() if what == "listener" else broker_asked(URLS[what]))
        for _ in range(after):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()

    async def main() -> None:
        for after in range(1, 12):
            await cancelled(after)
            await resolution_failed()
            gc.collect()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("loop", LOOPS)
def test_a_host_name_is_resolved(loop: str, redis_server: RedisServer) -> None:
    url = redis_server.url.replace("127.0.0.1", "localhost")
    assert "localhost" in url
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(broker_asked(url))


async def test_a_host_name_without_an_address_is_reported() -> None:
    broker = asynq.RedisBroker(f"redis://{NO_HOST}", budget=timedelta(0))
    with pytest.raises(BrokerUnavailable, match=f"{NO_HOST}:6379: .*(not known|nor servname)"):
        await broker.aexecute(Ping())
    await broker.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_used_without_resolution(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unasked(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unasked)
    assert await resolve(host, 1) == [host]


async def test_the_next_address_of_a_host_name_is_tried(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like localhost if a server listens on only one of its two addresses."""

    async def both(host: str, port: int, **_: Any) -> Any:
        def ours(address: str) -> Any:
            return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))

        return [ours("127.0.0.2"), ours("127.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    broker = asynq.RedisBroker(redis_server.url.replace("127.0.0.1", "two.invalid"), budget=timedelta(0))
    await broker.aexecute(Ping())
    listener = broker.listener()
    await listener.arm(["default"])
    await asyncio.wait_for(listener.next(), 10)
    await listener.aclose()
    await broker.aclose()
