"""RedisListener: events of new work and cancellations by any client, across lost connections."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import CancelRequested, Wake
from asynq_redis import RedisBroker
from asynq_redis.events.listener import RedisListener
from asynq_redis.url import Address
from asynq_redis.wire.keys import CANCEL_CHANNEL, CANCEL_REQUESTS, QueueKeys
from tests.servers import RedisServer, free_port, skip_before_redis_7, unread_bytes
from tests.waiting import aeventually, let_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis

    from asynq.protocol.broker import Event, Listener

Q, OTHER = QueueKeys("q"), QueueKeys("other")


class AtOnce(random.Random):
    """A random source that yields no pause and counts its draws."""

    draws = 0

    def uniform(self, a: float, b: float) -> float:
        self.draws += 1
        return 0.0


def listener_to(url: str, *, keepalive: float = 10.0, rng: random.Random | None = None) -> RedisListener:
    config = RedisBroker(url)._config
    return RedisListener(config.endpoint.addresses[0], config.settings, rng or AtOnce(), keepalive=keepalive)


@pytest.fixture
async def listener(own_server: RedisServer) -> AsyncIterator[Listener]:
    """A listener of queue "q" that has received no event yet."""
    made = listener_to(own_server.url)
    await made.arm(["q"])
    assert await heard(made) == Wake()
    yield made
    await made.aclose()


async def heard(listener: Listener) -> Event:
    return await asyncio.wait_for(listener.next(), 5)


async def silent(listener: Listener, server: RedisServer) -> bool:
    """True if no event arrives before a message that is sent now."""
    server.client.publish(CANCEL_CHANNEL, "now")
    return await heard(listener) == CancelRequested("now")


CHANGES: dict[str, tuple[Literal["pending", "scheduled"], Callable[[redis.Redis], object]]] = {
    "push": ("pending", lambda redis: redis.lpush(Q.pending, "id")),
    "push by a script": (
        "pending",
        lambda redis: redis.eval("redis.call('LPUSH', KEYS[1], 'id')", 1, Q.pending),
    ),
    "schedule": ("scheduled", lambda redis: redis.zadd(Q.scheduled, {"id": 1})),
    "retry": ("scheduled", lambda redis: redis.zadd(Q.retry, {"id": 1})),
    "pause": ("pending", lambda redis: redis.set(Q.paused, "1")),
}


@pytest.mark.parametrize(("tasks", "change"), CHANGES.values(), ids=CHANGES)
async def test_a_change_of_a_watched_queue_by_any_client_wakes_up(
    own_server: RedisServer,
    listener: Listener,
    tasks: Literal["pending", "scheduled"],
    change: Callable[[redis.Redis], object],
) -> None:
    change(own_server.client)
    assert await heard(listener) == Wake("q", tasks)


async def test_to_take_a_task_wakes_up_the_other_workers(own_server: RedisServer, listener: Listener) -> None:
    own_server.client.lpush(Q.pending, "a", "b")
    assert await heard(listener) == Wake("q", "pending")
    own_server.client.rpoplpush(Q.pending, Q.active)
    assert await heard(listener) == Wake("q", "pending")


async def test_changes_of_other_keys_do_not_wake_up(own_server: RedisServer, listener: Listener) -> None:
    for key in (OTHER.pending, Q.active, Q.task("id"), "asynq:queues"):
        own_server.client.lpush(key, "id")
    assert await silent(listener, own_server)


async def test_many_queues_need_one_tracked_prefix(own_server: RedisServer) -> None:
    made = listener_to(own_server.url)
    await made.arm([f"q{number}" for number in range(10_000)])
    assert await heard(made) == Wake()
    own_server.client.lpush(QueueKeys("unwatched").pending, "id")
    own_server.client.lpush(QueueKeys("q10000").pending, "id")
    own_server.client.lpush(QueueKeys("q77").task("id"), "id")
    own_server.client.zadd(QueueKeys("q4711").scheduled, {"id": 1})
    assert await heard(made) == Wake("q4711", "scheduled")
    assert own_server.client.info("stats")["tracking_total_prefixes"] == 1
    await made.aclose()


async def test_unread_changes_are_combined_into_one_wake_up(
    own_server: RedisServer, listener: Listener
) -> None:
    for _ in range(100):
        own_server.client.lpush(Q.pending, "id")
    own_server.client.publish(CANCEL_CHANNEL, "after them")
    assert await heard(listener) == Wake("q", "pending")
    following = await heard(listener)
    while following == Wake("q", "pending"):
        following = await heard(listener)
    assert following == CancelRequested("after them")


async def test_a_flushed_database_wakes_up(own_server: RedisServer, listener: Listener) -> None:
    own_server.client.flushall()
    assert await heard(listener) == Wake()


async def test_a_disarmed_listener_receives_only_cancellations(
    own_server: RedisServer, listener: Listener
) -> None:
    await listener.disarm()
    own_server.client.lpush(Q.pending, "id")
    assert await silent(listener, own_server)


async def test_arming_again_replaces_the_queues(own_server: RedisServer, listener: Listener) -> None:
    await listener.arm(["other", "third"])
    own_server.client.lpush(Q.pending, "id")
    own_server.client.lpush(OTHER.pending, "id")
    assert await heard(listener) == Wake("other", "pending")


async def test_no_change_is_missed_after_arming(own_server: RedisServer, listener: Listener) -> None:
    for _ in range(50):
        await listener.disarm()
        await listener.arm(["q"])
        own_server.client.lpush(Q.pending, "id")
        assert await heard(listener) == Wake("q", "pending")


@pytest.mark.parametrize("queue", ["", "a b", "é☃", "a}:pending", "{x}", "a:b"])
async def test_any_queue_name_can_be_watched(own_server: RedisServer, queue: str) -> None:
    listener = listener_to(own_server.url)
    await listener.arm(["a", queue])
    assert await heard(listener) == Wake()
    own_server.client.lpush(QueueKeys(queue).pending, "id")
    assert await heard(listener) == Wake(queue, "pending")
    await listener.aclose()


@pytest.mark.parametrize(
    ("channel", "message", "expected"),
    [
        (CANCEL_CHANNEL, "id", CancelRequested("id", None, "retry")),
        (CANCEL_CHANNEL, "é", CancelRequested("é", None, "retry")),
        (CANCEL_REQUESTS, {"id": "a", "queue": "q", "then": "archive"}, CancelRequested("a", "q", "archive")),
        (CANCEL_REQUESTS, {"id": "a", "queue": None, "then": "retry"}, CancelRequested("a", None, "retry")),
    ],
)
async def test_a_cancellation_is_received(
    own_server: RedisServer, listener: Listener, channel: str, message: object, expected: CancelRequested
) -> None:
    own_server.client.publish(channel, message if isinstance(message, str) else json.dumps(message))
    assert await heard(listener) == expected


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"id": 1}',
        b'{"id": "a", "then": "explode"}',
        b'"id"',
        b"null",
        b'{"id": "a", "queue": 1, "then": "retry"}',
        pytest.param(b"[" * 100_000, id="nested"),
    ],
)
async def test_a_message_that_cannot_be_read_is_ignored(
    own_server: RedisServer, listener: Listener, message: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    own_server.client.publish(CANCEL_REQUESTS, message)
    assert await silent(listener, own_server)
    assert "malformed message" in caplog.text


async def test_a_lost_connection_is_restored_and_wakes_up(
    own_server: RedisServer, listener: Listener
) -> None:
    for lose in (
        own_server.restart,
        lambda: own_server.client.client_kill_filter(skipme=True, _type="pubsub"),
    ):
        lose()
        assert await heard(listener) == Wake()
        own_server.client.lpush(Q.pending, "id")
        assert await heard(listener) == Wake("q", "pending")
        assert await silent(listener, own_server)


async def test_a_hanging_server_is_detected(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    listener = listener_to(own_server.url, keepalive=0.05)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    own_server.pause()
    await aeventually(lambda: "no reply in time" in caplog.text)
    own_server.resume()
    assert await heard(listener) == Wake()
    await listener.aclose()


async def test_an_armed_listener_is_live(own_server: RedisServer, listener: Listener) -> None:
    assert listener.live
    await listener.disarm()
    assert not listener.live
    await listener.arm(["q", "other"])
    assert listener.live


async def test_a_listener_is_live_only_while_the_server_answers(own_server: RedisServer) -> None:
    listener = listener_to(own_server.url, keepalive=2.0)
    await listener.arm(["q"])
    assert not listener.live
    assert await heard(listener) == Wake()
    assert listener.live
    own_server.pause()
    connection = listener._connection
    await aeventually(lambda: not listener.live)
    assert listener._connection is connection  # it gets more time to answer
    own_server.resume()
    await aeventually(lambda: listener.live)
    await listener.aclose()


async def test_a_listener_that_may_not_track_is_not_live(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    skip_before_redis_7(own_server, "cannot forbid a subcommand")
    own_server.client.acl_setuser(
        "partly", enabled=True, nopass=True, commands=["+@all", "-client|tracking"], channels=["*"]
    )
    listener = listener_to(own_server.url.replace("redis://", "redis://partly:any@"))
    await listener.arm(["q"])
    await aeventually(lambda: "listening to Redis" in caplog.text)
    assert not listener.live
    await listener.aclose()


def pings(server: RedisServer) -> int:
    calls: int = server.client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    return calls


async def test_the_connection_to_a_quiet_server_is_kept(own_server: RedisServer) -> None:
    listener = listener_to(own_server.url, keepalive=0.1)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    before = own_server.client.info("stats")["total_connections_received"]
    asked = pings(own_server)
    await aeventually(lambda: pings(own_server) > asked + 2)
    assert own_server.client.info("stats")["total_connections_received"] == before
    await listener.aclose()


async def test_ping_answered_while_the_event_loop_is_held_up_keeps_the_connection(
    own_server: RedisServer,
) -> None:
    keepalive = 1.0
    listener = listener_to(own_server.url, keepalive=keepalive)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    before = own_server.client.info("stats")["total_connections_received"]
    own_server.pause()
    await aeventually(lambda: unread_bytes(own_server.port))  # the ping
    own_server.resume()
    let_pass(1.5 * keepalive)
    assert await silent(listener, own_server)
    assert own_server.client.info("stats")["total_connections_received"] == before
    await listener.aclose()


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_an_unreachable_server_is_logged_once_and_costs_no_cpu_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    rng = AtOnce()
    listener = listener_to(f"redis://127.0.0.1:{free_port()}", rng=rng)
    await listener.arm(["q"])
    before = open_files()
    await aeventually(lambda: rng.draws >= 1000)
    assert open_files() <= before + 1
    assert [record.levelname for record in caplog.records if "asynq" in record.name] == ["WARNING"]
    await listener.aclose()


async def test_both_ends_of_an_outage_are_logged(
    own_server: RedisServer, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    own_server.kill()
    own_server.restart()
    assert await heard(listener) == Wake()
    told = [record.levelname for record in caplog.records if "listening to Redis" in record.getMessage()]
    assert told == ["WARNING", "INFO"]


async def test_a_wrong_password_is_reported_without_showing_it(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.start(password="right") as server:
        rng = AtOnce()
        listener = listener_to(server.url.replace("right", "hunter2"), rng=rng)
        await listener.arm(["q"])
        await aeventually(lambda: rng.draws >= 20)
        await listener.aclose()
    assert caplog.text.count("wrong username or password") == 1
    assert "hunter2" not in caplog.text


async def test_the_right_password_works(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.start(password="right") as server:
        listener = RedisBroker(server.url).listener()
        await listener.arm(["q"])
        assert await heard(listener) == Wake()
        await listener.aclose()


async def test_an_answer_within_one_tick_of_the_clock_keeps_the_connection(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of uvloop stands still for a millisecond, in which a server near by answers."""
    loop = asyncio.get_running_loop()
    exact = loop.time
    monkeypatch.setattr(loop, "time", lambda: exact() // 0.05 * 0.05)
    random_source = AtOnce()
    listener = listener_to(own_server.url, keepalive=0.05, rng=random_source)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    await aeventually(lambda: own_server.client.info("commandstats")["cmdstat_ping"]["calls"] >= 5)
    assert random_source.draws == 0
    await listener.aclose()


async def test_a_cancelled_wait_loses_no_event(own_server: RedisServer, listener: Listener) -> None:
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    waiting.cancel()
    own_server.client.lpush(Q.pending, "id")
    assert await heard(listener) == Wake("q", "pending")


async def test_closing_a_listener_ends_its_waiter_and_leaves_no_connection(own_server: RedisServer) -> None:
    listener = listener_to(own_server.url)
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    await listener.aclose()
    with pytest.raises(BrokerUnavailable, match="closed"):
        await waiting
    with pytest.raises(BrokerUnavailable, match="closed"):
        await listener.arm(["q"])
    await aeventually(lambda: len(own_server.client.client_list()) == 1)
    assert len(asyncio.all_tasks()) == 1


async def test_an_unused_listener_can_be_closed() -> None:
    await listener_to("redis://127.0.0.1:1").aclose()


async def test_a_unix_socket_works_like_a_port(own_server: RedisServer) -> None:
    settings = RedisBroker()._config.settings
    listener = RedisListener(Address(path=own_server.socket_path), settings, AtOnce())
    await listener.arm(["q"])
    assert await heard(listener) == Wake()
    await listener.aclose()
