"""Keys that hold what does not belong there: they hold up no other queue, and this one while they last."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncClient, AsynqError, BrokerRefusedError, Server, Task, TaskInfo
from asynq_redis.wire.keys import QueueKeys
from tests.faults.conftest import opened
from tests.faults.damage_lab import DamageLab
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.faults.conftest import Site
    from tests.servers import RedisServer

KEYS = QueueKeys("default")
IN_THE_WAY = ("pending", "active", "lease")
"""Keys without which nothing of a queue can run."""
BESIDE = ("scheduled", "retry", "archived", "completed", "groups", "processed", "failed")
LOG_LINES = 6
"""A server with a refused queue says what is refused, loop by loop, not again and again."""


@pytest.fixture
def site(redis_server: RedisServer) -> Iterator[Site]:
    with opened(redis_server.url, redis_server) as site:
        yield site


@pytest.fixture
def client(redis_server: RedisServer) -> Any:
    return redis_server.client


@pytest.fixture
async def lab(site: Site) -> AsyncIterator[DamageLab]:
    lab = DamageLab(site)
    yield lab
    await lab.broker.aclose()


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "active", "completed"])
@pytest.mark.parametrize("instead", ["nothing", "text", "hash"])
async def test_an_id_of_a_missing_task_is_removed(
    lab: DamageLab, client: Any, state: str, instead: str
) -> None:
    await lab.bring(state)
    client.delete(KEYS.task("bad"))
    if instead == "text":
        client.set(KEYS.task("bad"), b"not a task")
    elif instead == "hash":
        client.hset(KEYS.task("bad"), "other", "field")
    await lab.good_tasks()
    await lab.work_until(lambda: lab.site.size() == 0)
    assert lab.runs["bad"] == 0


@pytest.mark.parametrize("state", ["nowhere", "pending", "scheduled", "completed"])
async def test_a_lease_of_a_task_that_is_not_active_changes_nothing(
    lab: DamageLab, client: Any, state: str
) -> None:
    if state != "nowhere":
        await lab.bring(state)
    client.zadd(KEYS.lease, {"bad": 1.5})
    await lab.good_tasks()
    await lab.work_until(lambda: lab.site.size() == 0 and not client.exists(KEYS.lease))
    assert lab.runs["bad"] == (state in ("pending", "scheduled"))


@pytest.mark.parametrize("name", [*IN_THE_WAY, *BESIDE, "paused"])
async def test_a_queue_with_a_key_of_another_type_recovers_without_blocking_others(
    lab: DamageLab, client: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "asynq")
    key, kept = getattr(KEYS, name), b"kept"
    await lab.good_tasks()
    if client.exists(key):
        client.rename(key, kept)
    client.xadd(key, {"what": "somebody else's"})

    server = Server(lab.broker, queues=["default", "other"])
    await server.start(lab.handler)
    async with AsyncClient(lab.broker) as producer:
        for other in ("other1", "other2", "other3"):
            await producer.enqueue(Task("t"), queue="other", task_id=other)
            await aeventually(partial(lab.runs.get, other))
        [refused] = await producer.enqueue_many([Task("t")])
    if isinstance(refused, AsynqError):
        assert isinstance(refused, BrokerRefusedError)
        assert key in str(refused)
    started = [run for run in lab.runs if run.startswith("good")]
    if name in (*IN_THE_WAY, "paused"):
        assert started == []
    else:
        await aeventually(lambda: all(lab.runs[f"good{n}"] for n in range(20)))

    client.delete(key)
    if client.exists(kept):
        client.rename(kept, key)
    await aeventually(lambda: lab.site.size() == 0)
    await server.shutdown()
    assert all(lab.runs[f"good{n}"] == 1 for n in range(20))
    if isinstance(refused, TaskInfo):
        assert lab.runs[refused.id] == 1
    assert len(caplog.records) <= LOG_LINES, caplog.text
