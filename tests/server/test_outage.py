"""A broker that goes away, loses replies, comes back: nothing is lost, nothing spins, logs stay short."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.protocol.ops import Archive, Dequeue, Done, GetTask
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker
from asynq_topologies.proxy import Proxy
from tests.server.conftest import ServerLab
from tests.servers import RedisServer
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.protocol.ops import Op

T = TypeVar("T")

SEVERAL, AT_LEAST = 40, 2.0
"""Calls of a whole server to a broker that is away, and the seconds over which its back-off spreads them."""


class Unreliable(MemoryBroker):
    """A broker whose connection fails as the test says: before the request is carried out, or after it."""

    away = False
    calls = 0
    loses: Callable[[Sequence[Op[Any]]], bool] = staticmethod(lambda ops: False)

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        self.calls += 1
        if self.away:
            raise BrokerUnavailable("away")
        lost = self.loses(ops)
        answers = await super().aexecute_many(ops)
        if lost:
            raise BrokerUnavailable("the reply was lost", maybe_applied=True)
        return answers


@pytest.fixture
async def unreliable() -> AsyncIterator[ServerLab]:
    broker = Unreliable()
    yield ServerLab(broker)
    await broker.aclose()
    broker.close()


def broker_of(lab: ServerLab) -> Unreliable:
    assert isinstance(lab.broker, Unreliable)
    return lab.broker


@pytest.mark.parametrize(("concurrency", "tasks"), [(4, 20), (60, 300)])
async def test_a_fetch_with_a_lost_reply_delivers_its_tasks(
    unreliable: ServerLab, concurrency: int, tasks: int
) -> None:
    ran: Counter[str] = Counter()
    fetches = 0

    def lose_every_second_fetch(ops: Sequence[Op[Any]]) -> bool:
        nonlocal fetches
        if not any(isinstance(op, Dequeue) for op in ops):
            return False
        fetches += 1
        return bool(fetches % 2)

    async def handler(ctx: Context, task: Task) -> None:
        ran[ctx.task_id] += 1

    broker_of(unreliable).loses = lose_every_second_fetch
    ids = [await unreliable.enqueue(max_retry=0) for _ in range(tasks)]
    async with unreliable.serving(handler, concurrency=concurrency):
        for task_id in ids:
            await unreliable.reaches(task_id, None)
    assert ran == Counter(ids)


async def test_a_settlement_is_sent_until_it_succeeds(unreliable: ServerLab) -> None:
    done, runs = asyncio.Event(), 0

    async def handler(ctx: Context, task: Task) -> bytes:
        nonlocal runs
        runs += 1
        broker_of(unreliable).away = True
        done.set()
        return b"result"

    async with unreliable.serving(handler, lease=timedelta(seconds=1)):
        task_id = await unreliable.enqueue(retention=60)
        await done.wait()
        # Longer than the lease: the keeper, which can reach the broker, keeps the task ours.
        ask = GetTask(queue="default", task_id=task_id)
        lease_ends = unreliable.broker.execute(ask).due_at
        await aeventually(lambda: unreliable.broker.execute(ask).due_at > lease_ends + 1000)
        broker_of(unreliable).away = False
        stored = await unreliable.reaches(task_id, TaskState.COMPLETED)
    assert (runs, stored.result) == (1, b"result")


async def test_a_settlement_with_a_lost_reply_does_not_count_as_refused(
    unreliable: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    settlements = 0

    def lose_the_first_settlement(ops: Sequence[Op[Any]]) -> bool:
        nonlocal settlements
        settles = any(isinstance(op, Done) for op in ops)
        settlements += settles
        return settles and settlements == 1

    async def handler(ctx: Context, task: Task) -> None: ...

    succeeded: list[str] = []
    broker_of(unreliable).loses = lose_the_first_settlement
    with caplog.at_level(logging.INFO, logger="asynq.processor"):
        async with unreliable.serving(handler, on_success=lambda task, ctx: succeeded.append(ctx.task_id)):
            task_id = await unreliable.enqueue("t")
            await aeventually(lambda: "before its reply was lost" in caplog.text)
    assert await unreliable.find(task_id) is None
    assert "not recorded" not in caplog.text
    assert succeeded == [task_id]


async def test_a_settlement_repeated_by_the_broker_is_logged(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def handler(ctx: Context, task: Task) -> None:
        # The next request with the id is the settlement: heartbeats and extensions come seconds later.
        proxy.lose_replies(to=ctx.task_id.encode())

    with Proxy(redis_server.port) as proxy, caplog.at_level(logging.INFO, logger="asynq.processor"):
        lab = ServerLab(RedisBroker(proxy.url))
        async with lab.serving(handler, on_success=lambda task, ctx: told.append(ctx.task_id)):
            task_id = await lab.enqueue()
            await aeventually(lambda: "before its reply was lost" in caplog.text)
        assert proxy.lost == 1
        await lab.broker.aclose()
        lab.broker.close()
    assert "not recorded" not in caplog.text
    assert told == [task_id]


async def test_a_settlement_refused_at_its_first_attempt_is_not_a_success(
    memory: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    async def handler(ctx: Context, task: Task) -> None:
        await memory.broker.aexecute(Archive(delivery=ctx.control.delivery, error="by another"))

    async with memory.serving(handler, on_success=lambda task, ctx: told.append(ctx.task_id)):
        await memory.enqueue()
        await aeventually(lambda: "done was not recorded" in caplog.text)
    assert told == []


async def test_an_unavailable_broker_is_polled_rarely_and_logged_once(
    unreliable: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ran = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        ran.set()

    async with unreliable.serving(handler):
        broker_of(unreliable).away = True
        before, began = broker_of(unreliable).calls, time.monotonic()
        await aeventually(lambda: broker_of(unreliable).calls - before >= SEVERAL)
        assert time.monotonic() - began > AT_LEAST
        broker_of(unreliable).away = False
        await unreliable.enqueue()
        await asyncio.wait_for(ran.wait(), PATIENCE)
        await aeventually(lambda: "reachable again" in caplog.text)
    told = Counter((record.levelname, record.getMessage()) for record in caplog.records)
    assert max(told.values()) == 1
    outage = [entry for entry in told if "broker" in entry[1] and "queues" not in entry[1]]
    assert outage == [
        ("WARNING", "cannot reach the broker, retrying: the broker is unavailable: away"),
        ("INFO", "the broker is reachable again"),
    ]
    assert [level for level, _ in told if level != "INFO"] == ["WARNING"]


async def test_an_unexpected_error_of_the_broker_does_not_end_the_server(
    unreliable: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    failures = 3

    def fail_at_first(ops: Sequence[Op[Any]]) -> bool:
        nonlocal failures
        if failures and any(isinstance(op, Dequeue) for op in ops):
            failures -= 1
            raise KeyError("a bug")
        return False

    async def handler(ctx: Context, task: Task) -> None:
        pass

    broker_of(unreliable).loses = fail_at_first
    async with unreliable.serving(handler):
        await unreliable.reaches(await unreliable.enqueue(), None)
    assert any(record.exc_info for record in caplog.records)


async def test_a_server_started_without_its_broker_works_when_it_is_available(unreliable: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        pass

    task_id = await unreliable.enqueue()
    broker_of(unreliable).away = True
    async with unreliable.serving(handler):
        broker_of(unreliable).away = False
        await unreliable.reaches(task_id, None)


class Silent(MemoryBroker):
    """Does not answer at all until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def aexecute(self, op: Op[T], /) -> T:
        await self.answers.wait()
        return await super().aexecute(op)


async def test_a_broker_that_does_not_answer_at_the_start_is_logged_with_a_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "asynq.server")
    broker = Silent()
    async with ServerLab(broker).serving(lambda ctx, task: None):
        await aeventually(lambda: "reachable now" in caplog.text)
        broker.answers.set()
    assert [record.getMessage() for record in caplog.records][:3] == [
        "cannot reach the broker, retrying: no answer within 2 s",
        f"waiting to serve queues default on {broker!r}",
        "the broker is reachable now",
    ]
    broker.close()


async def test_no_task_is_lost_while_redis_is_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    ran: Counter[str] = Counter()
    gone = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        ran[ctx.task_id] += 1
        if len(ran) > 40:
            await gone.wait()

    with RedisServer.start("--appendonly", "yes", "--appendfsync", "always") as server:
        broker = RedisBroker(server.url)
        lab = ServerLab(broker)
        ids = [await lab.enqueue() for _ in range(200)]
        async with lab.serving(handler, concurrency=8, lease=timedelta(seconds=2)):
            await aeventually(lambda: len(ran) > 40)
            server.kill()
            gone.set()
            await aeventually(lambda: "cannot reach the broker" in caplog.text)
            server.restart()
            for task_id in ids:
                await lab.reaches(task_id, None)
        await broker.aclose()
        broker.close()
    assert set(ran) == set(ids)
    assert sum(ran.values()) <= 200 + 8
