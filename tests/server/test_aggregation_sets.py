"""The aggregation of one set, and what becomes of groups that others leave behind."""

from __future__ import annotations

import asyncio
import logging
import threading
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import AggregationLostError, BrokerUnavailable
from asynq.ids import random_id
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.runtime.threads import DaemonThreadPool
from asynq.worker.aggregation import Aggregate, Aggregation
from asynq.worker.loops.reclaimer import GroupRepairer, Reclaimer
from asynq_redis import RedisBroker
from tests.server.groups import MINUTE, add, groups, joined, pending

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from asynq_sqlite import MemoryBroker
    from tests.servers import RedisServer


# --- one set --------------------------------------------------------------------------------------------


async def one_set(broker: Broker, aggregate: Aggregate, **options: Any) -> Aggregation:
    """A set just taken."""
    await add(broker, "a", "b")
    op = ops.TakeGroup(queue="default", group="g", set_id="s", grace=MINUTE, max_size=2)
    taken = await broker.aexecute(op)
    assert taken
    threads = DaemonThreadPool(1)
    return Aggregation(
        broker=broker,
        taken=taken,
        aggregate=aggregate,
        threads=threads,
        new_id=random_id,
        rng=Random(1),
        **options,
    )


async def test_a_set_is_held_for_the_whole_aggregation(broker: MemoryBroker, clock: FakeClock) -> None:
    extended, finish = asyncio.Event(), asyncio.Event()

    async def slow(group: str, tasks: list[Task]) -> Task:
        await finish.wait()
        return joined(group, tasks)

    class Watched:
        clock = broker.clock

        async def aexecute(self, op: Any) -> Any:
            answer = await broker.aexecute(op)
            if isinstance(op, ops.ExtendAggregation):
                extended.set()
            return answer

    watched: Any = Watched()
    aggregation = await one_set(broker, slow)
    clock.advance(3 * MINUTE)
    short = Aggregation(
        broker=watched,
        taken=aggregation.taken,
        aggregate=slow,
        threads=aggregation.threads,
        new_id=random_id,
        rng=Random(1),
        hold=40,
    )
    running = asyncio.create_task(short.run())
    await extended.wait()
    assert await broker.aexecute(ops.ReclaimAggregations(queue="default")) == 0
    finish.set()
    await running


async def test_an_aggregation_ends_when_its_set_is_lost(broker: MemoryBroker, clock: FakeClock) -> None:
    async def never(group: str, tasks: list[Task]) -> Task:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    aggregation = await one_set(broker, never, hold=40)
    clock.advance(10 * MINUTE)
    await Reclaimer(broker, ["default"]).step()
    with pytest.raises(AggregationLostError):
        await aggregation.run()
    assert groups(broker) == {"g": 2}


async def test_a_plain_aggregator_runs_off_the_event_loop(broker: MemoryBroker) -> None:
    names = []

    def where(group: str, tasks: list[Task]) -> Task:
        names.append(threading.current_thread().name)
        return joined(group, tasks)

    await (await one_set(broker, where)).run()
    assert names != [threading.main_thread().name]


async def test_an_aggregate_whose_reply_was_lost_is_enqueued_once(broker: MemoryBroker) -> None:
    aggregation = await one_set(broker, joined)
    replies = iter([True, False])

    class Forgetful:
        clock = broker.clock

        async def aexecute(self, op: Any) -> Any:
            answer = await broker.aexecute(op)
            if isinstance(op, ops.FinishAggregation) and next(replies):
                raise BrokerUnavailable("gone", maybe_applied=True)
            return answer

    forgetful: Any = Forgetful()
    await Aggregation(
        broker=forgetful,
        taken=aggregation.taken,
        aggregate=joined,
        threads=aggregation.threads,
        new_id=random_id,
        rng=Random(1),
    ).run()
    assert pending(broker) == [b"a,b"]
    assert next(replies, None) is None


# --- what others leave behind ---------------------------------------------------------------------------


@pytest.mark.parametrize("queue", ["default", "a[b]*c?\\d"])
async def test_unlisted_groups_of_a_go_peer_are_found(redis_server: RedisServer, queue: str) -> None:
    broker = RedisBroker(redis_server.url)
    for name in ("one", "user:7"):
        message = TaskMessage(id=name, type="t", queue=queue, group=name)
        await broker.aexecute(ops.Enqueue(message=message, enqueue_id="e"))
    redis_server.client.delete(f"asynq:{{{queue}}}:groups")
    redis_server.client.zadd("asynq:{other}:g:not-this-queue", {"t": 1})
    repairer = GroupRepairer(broker, [queue], aggregates=True)
    while await repairer.step() != GroupRepairer.CYCLE_INTERVAL:
        pass
    page = await broker.aexecute(ops.ListGroups(queue=queue))
    assert {group.name: group.size for group in page.groups} == {"one": 1, "user:7": 1}
    await broker.aclose()


async def test_a_server_without_aggregator_warns_once_of_groups(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    await add(broker, "a")
    repairer = GroupRepairer(broker, ["default", "empty"], aggregates=False)
    with caplog.at_level(logging.WARNING, "asynq.loops"):
        await repairer.step()
        await repairer.step()
    assert [record.getMessage().split(",")[0] for record in caplog.records] == ["queue 'default' has groups"]
