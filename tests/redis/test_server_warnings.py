"""A starting listener warns about settings of its server that can lose tasks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from asynq_redis import RedisBroker
from asynq_redis.transport.server_facts import facts_of, warnings
from tests.servers import RedisServer
from tests.waiting import aeventually

if TYPE_CHECKING:
    import pytest

    from asynq_redis.base_broker import BaseRedisBroker


async def advice(broker: BaseRedisBroker, caplog: pytest.LogCaptureFixture, count: int) -> list[str]:
    """The warnings, after this many have been logged and the server has answered."""
    caplog.set_level(logging.WARNING)
    listener = broker.listener()
    await listener.arm(["q"])
    await listener.next()

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == "asynq.redis"]

    await aeventually(lambda: len(said()) >= count)
    await listener.aclose()
    return said()


async def test_a_server_that_may_lose_tasks_is_named(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.start("--maxmemory-policy", "allkeys-lru") as server:
        said = await advice(RedisBroker(server.url, min_replicas=1), caplog, 3)
    assert [word for word in ("noeviction", "appendonly", "min_replicas") if word in "\n".join(said)] == [
        "noeviction",
        "appendonly",
        "min_replicas",
    ]
    assert all(f":{server.port}" in line for line in said)


async def test_a_safe_server_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.start("--appendonly", "yes") as server:
        assert await advice(RedisBroker(server.url), caplog, 0) == []


def test_a_server_that_reads_its_append_only_file_causes_no_warning() -> None:
    info = b"loading:1\r\naof_enabled:0\r\nrole:master\r\nconnected_slaves:0\r\n"
    said = warnings(facts_of(info), snapshots=False, min_replicas=1, expects_replica=True)
    assert list(said) == []


async def test_a_server_that_refuses_the_query_causes_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer.start() as server:
        allowed = ["+@all", "-info", "-config"]
        server.client.acl_setuser(
            "worker", enabled=True, passwords=["+w"], keys=["*"], channels=["*"], commands=allowed
        )
        broker = RedisBroker(server.url, username="worker", password="w")
        assert await advice(broker, caplog, 0) == []
