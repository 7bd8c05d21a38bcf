"""A read-only replica: everything can be read, and nothing is offered that cannot be done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.testclient import TestClient

from asynq.protocol.broker_info import BrokerInfo, BrokerNode
from asynq.web import create_app
from asynq.web.writability import INTERVAL, Writability
from asynq_redis import RedisBroker
from tests.servers import RedisServer, runs_containers
from tests.waiting import eventually
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def primary() -> Iterator[RedisServer]:
    server = RedisServer.start()
    yield server
    server.stop()


@pytest.fixture
def replica(primary: RedisServer) -> Iterator[RedisServer]:
    server = RedisServer.start("--replicaof", "127.0.0.1", str(primary.port))
    yield server
    server.stop()


@pytest.mark.skipif(runs_containers(), reason="the replica is a process")
def test_a_replica_is_read_and_offers_no_change(primary: RedisServer, replica: RedisServer) -> None:
    Store(RedisBroker(primary.url)).enqueue("a")
    eventually(lambda: replica.client.dbsize() == primary.client.dbsize())
    app = create_app(RedisBroker(replica.url))
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        assert [task["id"] for task in client.get("/api/queues/mail/pending_tasks").json()["tasks"]] == ["a"]
        assert "mail" in client.get("/").text
        assert "Pause" not in client.get("/").text
        session = client.get("/api/session").json()
        assert not session["may_change"]
        answer = client.post("/api/queues/mail:pause", headers={"X-CSRF-Token": session["csrf_token"]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "read_only_replica")
        assert str(primary.port) in answer.json()["error"]["message"]


async def test_a_replica_may_become_the_primary() -> None:
    node = BrokerNode(address="a", role="replica", primary="b")
    now = 0.0

    async def describe() -> BrokerInfo:
        return BrokerInfo(backend="redis", product="Redis", version="8", topology="standalone", nodes=(node,))

    writability = Writability(describe, lambda: now)
    await asyncio.gather(*(writability.refresh() for _ in range(3)))
    assert "replica of b" in writability.reason
    node = BrokerNode(address="a", role="primary")
    await writability.refresh()
    assert writability.reason
    now = INTERVAL
    await writability.refresh()
    assert writability.reason == ""
