"""RedisBroker with servers that die, hang, refuse or lose scripts, and networks that lose replies."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq.errors import BrokerFullError, BrokerUnavailable
from asynq.protocol.ops import Dequeue, Op, PauseQueue, Ping
from asynq_redis import RedisBroker
from asynq_redis.transport.routing import SingleServerRouter
from asynq_topologies.proxy import Proxy
from tests.redis.custom_operations import COUNTER, Count, Echo, Face, Send, enqueue
from tests.servers import RedisServer, find_redis_servers, server_version
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("custom_operations")

NONE = timedelta(0)
SHORT = timedelta(seconds=0.3)
LONG = timedelta(seconds=20)
DEFAULT_BUDGET, DEFAULT_TIMEOUT = 5.0, 3.0
"""Seconds. Calls with a short budget and short timeouts end before, also on a busy machine."""


@contextlib.contextmanager
def meanwhile(*actions: Callable[[], Any]) -> Iterator[None]:
    """Execute actions on another thread during the block."""

    def run() -> None:
        for action in actions:
            action()

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join()


def test_a_call_succeeds_despite_a_restart_of_the_server(own_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(own_server.url, budget=LONG)
    face.ask(broker, Ping())
    own_server.kill()
    with meanwhile(own_server.restart):
        assert face.ask(broker, enqueue())[0].state.value == "pending"
    assert own_server.client.llen("asynq:{q}:pending") == 1
    broker.close()


def test_a_call_without_a_server_fails_after_the_budget(own_server: RedisServer, face: Face) -> None:
    own_server.kill()
    broker = RedisBroker(own_server.url, budget=SHORT)
    began = time.monotonic()
    said = r"unavailable: 127\.0\.0\.1:\d+: connection refused$"
    with pytest.raises(BrokerUnavailable, match=said) as failed:
        face.ask(broker, Count())
    assert SHORT.total_seconds() <= time.monotonic() - began < DEFAULT_BUDGET
    assert not failed.value.maybe_applied


def test_a_call_to_a_hanging_server_fails_after_budget_and_timeouts(
    own_server: RedisServer, face: Face
) -> None:
    broker = RedisBroker(own_server.url, budget=SHORT, connect_timeout=SHORT, socket_timeout=SHORT)
    own_server.pause()
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="no reply in time"):
        face.ask(broker, Ping())
    assert time.monotonic() - began < DEFAULT_TIMEOUT
    own_server.resume()
    assert face.ask(broker, Echo("back")) == [b"back"]
    broker.close()


def test_a_request_without_a_reply_may_have_been_applied(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url, budget=NONE, socket_timeout=SHORT)
    broker.execute(Ping())
    own_server.pause()
    with pytest.raises(BrokerUnavailable) as failed:
        broker.execute(enqueue())
    assert failed.value.maybe_applied
    own_server.resume()
    broker.execute(Ping())
    own_server.pause()
    with pytest.raises(BrokerUnavailable) as failed:
        broker.execute(Echo("a question changes nothing"))
    assert not failed.value.maybe_applied
    own_server.resume()
    broker.close()


def test_a_request_with_a_lost_reply_is_sent_again(own_server: RedisServer, face: Face) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=LONG)
        proxy.lose_replies(2, to=b"call for a")
        assert face.ask(broker, enqueue())[0].state.value == "pending"
        assert proxy.lost == 2
        assert own_server.client.lrange("asynq:{q}:pending", 0, -1) == [b"a"]
        broker.close()


def test_an_unrepeatable_request_is_not_sent_again(own_server: RedisServer, face: Face) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=LONG)
        proxy.lose_replies(to=b"INCR")
        with pytest.raises(BrokerUnavailable) as failed:
            face.ask(broker, Count(), Echo("x"))
        assert failed.value.maybe_applied
        assert own_server.client.get(COUNTER) == b"1"
        broker.close()


def test_a_request_that_was_certainly_not_applied_is_sent_again(own_server: RedisServer, face: Face) -> None:
    own_server.client.replicaof("127.0.0.1", 1)
    broker = RedisBroker(own_server.url, budget=LONG)
    refused = own_server.client.info("stats")["unexpected_error_replies"]
    with meanwhile(
        lambda: eventually(lambda: errors(own_server, "READONLY") > refused),
        lambda: own_server.client.replicaof("NO", "ONE"),
    ):
        assert face.ask(broker, Count()) == [1]
    broker.close()


def errors(server: RedisServer, code: str) -> int:
    """How often the server has answered with this error."""
    seen = server.client.info("errorstats").get(f"errorstat_{code}", {"count": 0})
    count: int = seen["count"]
    return count


def test_a_server_that_refuses_writes_is_reported_as_suspect(
    own_server: RedisServer, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    doubted: list[Any] = []
    monkeypatch.setattr(SingleServerRouter, "suspect", lambda _, address: doubted.append(address))
    broker = RedisBroker(own_server.url, budget=NONE)
    face.ask(broker, Ping())
    own_server.client.config_set("min-replicas-to-write", 1)
    [refused] = face.ask(broker, enqueue())
    assert isinstance(refused, BrokerUnavailable)
    assert [address.port for address in doubted] == [own_server.port]
    broker.close()


def test_leases_use_the_clock_of_the_server(own_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = RedisBroker(own_server.url)
    broker.execute(enqueue())
    monkeypatch.setattr(time, "time", lambda: 1e9)
    before = milliseconds(own_server)
    [delivery] = broker.execute(Dequeue(orders=(("q",),), token="t", lease=30_000))
    assert before + 30_000 <= delivery.expires_at <= milliseconds(own_server) + 30_001
    broker.close()


def milliseconds(server: RedisServer) -> int:
    """The clock of the server."""
    seconds, microseconds = server.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def test_a_broken_connection_is_replaced(own_server: RedisServer) -> None:
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=NONE)
        for n in range(3):
            assert broker.execute(Echo(str(n))) == str(n).encode()
            proxy.cut()
        assert proxy.connections >= 3
        broker.close()


def test_lost_scripts_are_sent_again(own_server: RedisServer, face: Face) -> None:
    broker = RedisBroker(own_server.url, budget=NONE)
    for n in range(3):
        own_server.client.script_flush()
        answers = face.ask(broker, enqueue(f"{n}"), PauseQueue(queue="q"))
        assert answers[0].state.value == "pending"
    assert own_server.client.llen("asynq:{q}:pending") == 3
    broker.close()


async def test_scripts_lost_between_two_calls_of_a_connection_are_sent_again(
    own_server: RedisServer,
) -> None:
    broker = RedisBroker(own_server.url, budget=NONE, max_connections=1)
    for n in range(3):
        await broker.aexecute(enqueue(str(n)))
        broker.execute(enqueue(f"{n}, too"))
        own_server.client.script_flush()
    assert own_server.client.llen("asynq:{q}:pending") == 6
    broker.close()
    await broker.aclose()


def test_a_server_that_cannot_save_is_unavailable(own_server: RedisServer, face: Face) -> None:
    (Path(own_server.socket_path).parent / "dump.rdb").mkdir()
    own_server.client.config_set("save", "3600 1")
    own_server.client.bgsave()
    eventually(lambda: own_server.client.info("persistence")["rdb_last_bgsave_status"] == "err")
    broker = RedisBroker(own_server.url, budget=SHORT)
    refused, answered = face.ask(broker, Count(), Echo("x"))
    assert isinstance(refused, BrokerUnavailable)
    assert "MISCONF" in refused.reason
    assert not refused.maybe_applied
    assert answered == b"x"
    broker.close()


def test_a_call_waits_for_a_busy_server(own_server: RedisServer, face: Face) -> None:
    own_server.client.config_set("lua-time-limit", 1)
    hog, killer = redis.Redis(port=own_server.port), redis.Redis(port=own_server.port)
    killer.ping()

    def occupy() -> None:
        with pytest.raises(redis.RedisError):
            hog.eval("while true do end", 0)

    def free_it() -> None:
        with contextlib.suppress(redis.RedisError):
            killer.script_kill()

    def busy() -> bool:
        try:
            killer.ping()
        except redis.RedisError:
            return True
        return False

    broker = RedisBroker(own_server.url, budget=LONG)
    face.ask(broker, Ping())
    with meanwhile(occupy):
        eventually(busy)
        threading.Timer(0.1, free_it).start()
        assert face.ask(broker, Count()) == [1]
    hog.close()
    killer.close()
    broker.close()


def test_a_call_waits_for_a_server_that_loads_its_data(face: Face) -> None:
    slowly = ("--key-load-delay", "10000", "--rdbcompression", "no")
    with RedisServer.start(*slowly) as server:
        server.client.mset({f"key {n}": "x" * 300_000 for n in range(50)})
        server.client.set(COUNTER, 41)
        server.client.save()
        server.kill()
        broker = RedisBroker(server.url, budget=LONG)
        with meanwhile(server.restart):
            assert face.ask(broker, Count()) == [42]
        assert errors(server, "LOADING") > 0
        broker.close()


def test_too_few_replicas_is_unavailable(own_server: RedisServer, face: Face) -> None:
    own_server.client.config_set("min-replicas-to-write", 1)
    broker = RedisBroker(own_server.url, budget=SHORT)
    (refused,) = face.ask(broker, Count())
    assert isinstance(refused, BrokerUnavailable)
    assert "NOREPLICAS" in refused.reason
    broker.close()


@pytest.mark.parametrize("executable", find_redis_servers(), ids=lambda path: path.split("/")[-3])
def test_scripts_run_on_every_available_server_version(executable: str, face: Face) -> None:
    with RedisServer.start(executable=executable) as server:
        broker = RedisBroker(server.url, budget=NONE)
        answers = face.ask(broker, enqueue(), PauseQueue(queue="q"), Send(("LPUSH", "asynq:{q}:paused", "x")))
        assert answers[0].state.value == "pending"
        assert answers[1] is True
        server.client.config_set("maxmemory", "1")
        (full,) = face.ask(broker, enqueue("b"))
        assert isinstance(full, BrokerFullError)
        assert server_version(executable) >= (6, 2)
        broker.close()


async def test_a_retry_pause_does_not_block_the_event_loop() -> None:
    broker = RedisBroker("redis://127.0.0.1:1", budget=timedelta(seconds=0.5))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    with pytest.raises(BrokerUnavailable):
        await broker.aexecute(Ping())
    ticking.cancel()
    assert ticks > 100


def test_operations_of_one_call_are_repeated_together_or_not_at_all(own_server: RedisServer) -> None:
    ops: list[Op[Any]] = [enqueue(), Count()]
    with Proxy(own_server.port) as proxy:
        broker = RedisBroker(proxy.url, budget=LONG)
        proxy.lose_replies(to=b"INCR")
        with pytest.raises(BrokerUnavailable):
            broker.execute_many(ops)
        assert own_server.client.get(COUNTER) == b"1"
        broker.close()
