"""RedisWatcher: changes of tasks by any client, without waiting on a lost connection."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import AsyncClient, Task
from asynq.client import results
from asynq.errors import BrokerRefusedError, BrokerUnavailable, TaskGoneError
from asynq_redis import RedisBroker
from asynq_redis.events.watcher import RedisWatcher
from asynq_redis.wire.keys import QueueKeys
from tests.servers import RedisServer, free_port
from tests.waiting import PATIENCE, aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import redis

    from asynq_redis.url import Address

KEY = QueueKeys("q").task("t")
EAGER = getattr(asyncio, "eager_task_factory", None)


def watcher_to(url: str, **options: float) -> RedisWatcher:
    config = RedisBroker(url)._config

    async def home(queue: str) -> Address | None:
        return config.endpoint.addresses[0] if queue != "nowhere" else None

    return RedisWatcher(home, config.settings, **options)


@pytest.fixture
async def watcher(own_server: RedisServer) -> AsyncIterator[RedisWatcher]:
    made = watcher_to(own_server.url)
    yield made
    await made.aclose()


@pytest.mark.skipif(EAGER is None, reason="this version of Python cannot start tasks eagerly")
async def test_a_refused_connection_is_tried_again_if_tasks_start_eagerly(own_server: RedisServer) -> None:
    asyncio.get_running_loop().set_task_factory(EAGER)
    watcher = watcher_to(f"unix://{own_server.socket_path}")
    own_server.kill()
    with pytest.raises(BrokerUnavailable):
        await watcher.watch("q", "t")
    own_server.restart()
    assert not (await watcher.watch("q", "t")).done()
    await watcher.aclose()


async def done(change: asyncio.Future[None]) -> bool:
    await asyncio.wait([change], timeout=PATIENCE)
    return change.done()


def trackers(server: RedisServer) -> int:
    """Connections on which the server reports changes."""
    return sum("t" in client["flags"] for client in server.client.client_list())


CHANGES: dict[str, Callable[[redis.Redis], object]] = {
    "written": lambda client: client.hset(KEY, "state", "completed"),
    "deleted": lambda client: client.delete(KEY),
    "flushed": lambda client: client.flushall(),
}


@pytest.mark.parametrize("change_it", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_a_watched_task_by_any_client_is_reported(
    watcher: RedisWatcher, own_server: RedisServer, change_it: Callable[[redis.Redis], object]
) -> None:
    own_server.client.hset(KEY, "state", "active")
    change = await watcher.watch("q", "t")
    change_it(own_server.client)
    assert await done(change)


async def test_changes_of_other_tasks_are_not_reported(
    watcher: RedisWatcher, own_server: RedisServer
) -> None:
    other, mine = await watcher.watch("q", "tt"), await watcher.watch("q", "t")
    own_server.client.hset(QueueKeys("q").task("tt"), "state", "active")
    assert await done(other)
    assert not mine.done()


async def test_all_watchers_of_a_task_are_notified(watcher: RedisWatcher, own_server: RedisServer) -> None:
    first, given_up, last = [await watcher.watch("q", "t") for _ in range(3)]
    given_up.cancel()
    own_server.client.hset(KEY, "state", "active")
    assert await done(first)
    assert await done(last)


async def test_any_number_of_watched_tasks_shares_a_connection(
    watcher: RedisWatcher, own_server: RedisServer
) -> None:
    await asyncio.gather(*(watcher.watch("q", str(number)) for number in range(200)))
    assert trackers(own_server) == 1


async def test_an_ended_watch_leaves_no_data(watcher: RedisWatcher) -> None:
    for change in [await watcher.watch("q", str(number)) for number in range(5)]:
        change.cancel()
    await asyncio.sleep(0)
    [tracking] = watcher._servers.values()
    assert tracking._waiting == {}


async def test_a_lost_connection_is_reported_and_the_next_watch_reconnects(
    watcher: RedisWatcher, own_server: RedisServer
) -> None:
    change = await watcher.watch("q", "t")
    own_server.client.client_kill_filter(_type="normal", skipme=True)
    assert await done(change)
    change = await watcher.watch("q", "t")
    own_server.client.hset(KEY, "state", "active")
    assert await done(change)


async def test_a_hanging_server_counts_as_lost(own_server: RedisServer) -> None:
    watcher = watcher_to(own_server.url, keepalive=0.05)
    change = await watcher.watch("q", "t")
    own_server.pause()
    try:
        assert await done(change)
    finally:
        own_server.resume()
    await watcher.aclose()


async def test_watching_without_a_server_is_refused() -> None:
    watcher = watcher_to(f"redis://127.0.0.1:{free_port()}")
    answers = await asyncio.gather(
        *(watcher.watch("q", "t") for _ in range(3)), watcher.watch("nowhere", "t"), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [BrokerUnavailable] * 4
    await watcher.aclose()


async def test_a_user_without_tracking_permission_gets_an_error(own_server: RedisServer) -> None:
    own_server.client.acl_setuser(
        "mute",
        enabled=True,
        passwords="+secret",
        keys=["asynq:*"],
        categories=["+@all"],
        commands=["-client"],
    )
    watcher = watcher_to(own_server.url.replace("redis://", "redis://mute:secret@"))
    with pytest.raises(BrokerRefusedError, match="permission"):
        await watcher.watch("q", "t")
    await watcher.aclose()


async def test_closing_notifies_all_callers_and_leaves_no_connection(
    watcher: RedisWatcher, own_server: RedisServer
) -> None:
    change = await watcher.watch("q", "t")
    await watcher.aclose()
    assert change.done()
    eventually(lambda: not trackers(own_server))


@pytest.mark.parametrize("kept", [True, False])
async def test_a_result_written_by_a_go_worker_ends_the_wait(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    """Go publishes nothing: it changes the task, or deletes a revoked one."""
    monkeypatch.setattr(results, "FALLBACK_POLL_INTERVAL", 1e6)
    broker = RedisBroker(redis_server.url)
    async with AsyncClient(broker) as client:
        info = await client.enqueue(Task("t"), queue="q", retention=timedelta(hours=1))
        waiting = asyncio.create_task(client.wait(info, timedelta(seconds=PATIENCE)))
        await aeventually(lambda: trackers(redis_server))
        keys, plain = QueueKeys("q"), redis_server.client
        with plain.pipeline() as commands:
            commands.lrem(keys.pending, 1, info.id)
            if kept:
                commands.zadd(keys.completed, {info.id: 2_000_000_000})
                commands.hset(keys.task(info.id), mapping={"state": "completed", "result": b"from Go"})
            else:
                commands.delete(keys.task(info.id))
            commands.execute()
        if kept:
            assert await waiting == b"from Go"
        else:
            with pytest.raises(TaskGoneError):
                await waiting
    await broker.aclose()
