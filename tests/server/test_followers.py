"""Servers that enqueue what follows the tasks that have succeeded."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from asynq.client.client import AsyncClient
from asynq.client.delivery import deliver
from asynq.client.task import Task
from asynq.clock import FakeClock
from asynq.errors import BrokerUnavailable, ResultError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.followers import FOLLOWERS_HEADER, MAX_PASSED_RESULT
from asynq.runtime.sync_async import AwaitedCalls
from asynq.task_state import TaskState
from asynq.worker.loops.followers import BUSY_INTERVAL, HOLD, INTERVAL, FollowerDelivery
from asynq_sqlite import MemoryBroker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.server.conftest import ServerLab

LEASE = 60_000


async def complete(broker: MemoryBroker, result: bytes | None = None) -> None:
    """Complete the next task, as a worker that is lost right afterwards."""
    token = str(Random().random())
    [run] = await broker.aexecute(ops.Dequeue(orders=(("default",),), token=token, lease=LEASE))
    await broker.aexecute(ops.Complete(delivery=run, result=result))


def delivery_of(broker: MemoryBroker, *queues: str) -> FollowerDelivery:
    return FollowerDelivery(broker, queues or ("default",), BrokerTime(broker.clock))


async def sizes(broker: MemoryBroker, *queues: str) -> list[int]:
    return [(await broker.aexecute(ops.GetQueueStats(queue=queue))).size for queue in queues]


async def test_a_chain_runs_through_several_queues_and_passes_results_on(lab: ServerLab) -> None:
    seen: list[tuple[str, list[Any]]] = []

    async def handler(ctx: Any, task: Task) -> Any:
        seen.append((task.type, ctx.passed_results(str)))
        return f"result of {task.type}"

    client = AsyncClient(lab.broker)
    chain = Task("second", then=Task("third", queue="high"), queue="low")
    info = await client.enqueue(Task("first"), then=chain, retention=timedelta(hours=1))
    async with lab.serving(handler, queues={"default": 1, "low": 1, "high": 1}):
        await aeventually(lambda: len(seen) == 3)
        assert await client.wait(info) == b"result of first"
    assert seen == [
        ("first", []),
        ("second", ["result of first"]),
        ("third", ["result of second"]),
    ]


async def test_all_followers_of_a_task_run(lab: ServerLab) -> None:
    ran: list[str] = []

    async def handler(ctx: Any, task: Task) -> None:
        ran.append(task.payload.decode())
        assert task.type == "first" or ctx.passed_results() == [b""]

    await AsyncClient(lab.broker).enqueue(Task("first"), then=[Task("next", str(n)) for n in range(60)])
    async with lab.serving(handler):
        await aeventually(lambda: len(ran) == 61)
    assert sorted(ran) == sorted(["", *map(str, range(60))])


async def test_a_task_that_fails_first_is_followed_once(lab: ServerLab) -> None:
    ran: list[str] = []

    async def handler(ctx: Any, task: Task) -> None:
        ran.append(task.type)
        if task.type == "first" and not ctx.retried:
            raise ValueError("once more")

    await AsyncClient(lab.broker).enqueue(Task("first"), then=Task("next"))
    async with lab.serving(handler, retry_delay=lambda *_: timedelta(0)):
        await aeventually(lambda: "next" in ran)
    assert ran == ["first", "first", "next"]


@pytest.mark.parametrize("excess", [0, 1])
async def test_a_result_that_is_too_large_to_be_passed_on_fails_the_task(lab: ServerLab, excess: int) -> None:
    sizes: list[int] = []

    def handler(ctx: Any, task: Task) -> bytes | None:
        sizes.extend(len(result) for result in ctx.passed_results())
        return bytes(MAX_PASSED_RESULT + excess) if task.type == "first" else None

    info = await AsyncClient(lab.broker).enqueue(Task("first"), then=Task("next"), max_retry=0)
    async with lab.serving(handler):
        if excess:
            await lab.reaches(info.id, TaskState.ARCHIVED)
        else:
            await aeventually(lambda: sizes == [MAX_PASSED_RESULT])
    assert len(sizes) == 1 - excess


# --- lost workers and brokers -----------------------------------------------------------------------------


async def test_a_server_enqueues_what_a_lost_worker_left(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    await AsyncClient(broker).enqueue(Task("t"), then=Task("next", queue="low"))
    delivery = delivery_of(broker, "default", "low")
    assert await delivery.step() == pytest.approx(INTERVAL, abs=1)
    await complete(broker, b"r")
    fresh = delivery_of(broker, "default", "low")
    assert await fresh.step() == pytest.approx(BUSY_INTERVAL, abs=1)
    assert await sizes(broker, "default", "low") == [0, 1]


async def test_a_marked_queue_is_asked_at_once(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    delivery = delivery_of(broker)
    await delivery.step()
    await AsyncClient(broker).enqueue(Task("t"), then=Task("next", queue="low"))
    await complete(broker)
    await delivery.step()
    assert await sizes(broker, "default") == [1]
    delivery.mark("default")
    await delivery.step()
    assert await sizes(broker, "default", "low") == [0, 1]


async def test_more_parents_than_a_batch_are_delivered_in_one_step(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    client = AsyncClient(broker)
    for _ in range(ops.MAX_BATCH + 1):
        await client.enqueue(Task("t"), then=Task("next", queue="low"))
        await complete(broker)
    await delivery_of(broker).step()
    assert await sizes(broker, "default", "low") == [0, ops.MAX_BATCH + 1]


class Breaking(MemoryBroker):
    """Loses the connection before an operation of this kind."""

    broken: type[ops.Op[Any]] | None = None

    async def aexecute_many(self, operations: Sequence[ops.Op[Any]], /) -> list[Any]:
        if self.broken is not None and any(isinstance(op, self.broken) for op in operations):
            raise BrokerUnavailable("gone")
        return await super().aexecute_many(operations)


@pytest.mark.parametrize("broken", [ops.Enqueue, ops.FinishParent])
async def test_a_delivery_that_is_interrupted_is_repeated_without_duplicates(
    broken: type[ops.Op[Any]],
) -> None:
    clock = FakeClock()
    broker = Breaking(clock=clock)
    await AsyncClient(broker).enqueue(Task("t"), then=[Task("next", queue="low")] * 2)
    await complete(broker)
    broker.broken = broken
    delivery = delivery_of(broker)
    with pytest.raises(BrokerUnavailable):
        await delivery.step()
    broker.broken = None
    delivery.mark("default")
    await delivery.step()
    assert await sizes(broker, "default") == [1], "held, perhaps by a server that lives"
    clock.advance(HOLD + 2000)
    await delivery.step()
    assert await sizes(broker, "default", "low") == [0, 2]


async def test_a_follower_that_the_broker_refuses_is_tried_again(memory: ServerLab) -> None:
    clock = FakeClock()
    broker = MemoryBroker(clock=clock, max_value_bytes=3000)
    await AsyncClient(broker).enqueue(Task("t"), then=Task("next", bytes(1500), queue="low"))
    await complete(broker, bytes(2000))
    delivery = delivery_of(broker)
    await delivery.step()
    assert (await broker.aexecute(ops.ListQueues())) == ("default",)
    assert await sizes(broker, "default") == [1]
    clock.advance(HOLD + 2000)
    assert len(await broker.aexecute(ops.TakeParents(queue="default", hold=1000))) == 1


async def test_a_follower_whose_id_is_taken_counts_as_enqueued(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    client = AsyncClient(broker)
    await client.enqueue(Task("t"), then=Task("next", task_id="mine", queue="low"))
    await client.enqueue(Task("other", task_id="mine", queue="low"))
    await complete(broker)
    await delivery_of(broker).step()
    assert await sizes(broker, "default", "low") == [0, 1]
    with pytest.raises(TaskIDConflictError):
        await client.enqueue(Task("other", task_id="mine", queue="low"))


@pytest.mark.parametrize(
    "header", [None, "damaged", pytest.param('{"x": ' + "[" * 5_000 + "]" * 5_000 + "}", id="nested")]
)
async def test_a_task_without_readable_followers_is_kept_and_taken_once(
    memory: ServerLab, header: str | None
) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    headers = {} if header is None else {FOLLOWERS_HEADER: header}
    await memory.enqueue(id="t", headers=headers, retention=60 * 365 * 86_400)
    await complete(broker)
    await delivery_of(broker).step()
    assert await sizes(broker, "default") == [1]
    assert await broker.aexecute(ops.TakeParents(queue="default", hold=1000)) == ()


async def test_a_result_that_a_peer_wrote_too_large_is_an_error_when_it_is_read(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    await AsyncClient(broker).enqueue(Task("t"), then=Task("next"))
    await complete(broker, bytes(MAX_PASSED_RESULT + 1))
    parents = await broker.aexecute(ops.TakeParents(queue="default", hold=1000))
    assert await deliver(AwaitedCalls(broker), parents) == []
    raised: list[ResultError] = []

    async def handler(ctx: Any, _task: Task) -> None:
        try:
            ctx.passed_results()
        except ResultError as error:
            raised.append(error)

    async with memory.serving(handler):
        await aeventually(lambda: raised)
    assert "result 0 has more than 65536 bytes" in str(raised[0])


async def test_a_shutdown_enqueues_what_follows_the_last_tasks(lab: ServerLab) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def handler(_ctx: Any, _task: Task) -> None:
        begun.set()
        await release.wait()

    await AsyncClient(lab.broker).enqueue(Task("t"), then=Task("next", queue="low"))
    async with lab.serving(handler):
        await begun.wait()
        asyncio.get_running_loop().call_soon(release.set)
    assert (await lab.broker.aexecute(ops.GetQueueStats(queue="low"))).size == 1
    assert (await lab.broker.aexecute(ops.GetQueueStats(queue="default"))).size == 0


# --- joins ------------------------------------------------------------------------------------------------


async def test_servers_run_a_join_once_with_all_results(lab: ServerLab) -> None:
    sums: list[int] = []

    async def handler(ctx: Any, task: Task) -> Any:
        if task.type == "sum":
            sums.append(sum(ctx.passed_results(int)))
            return None
        if ctx.retried == 0 and int(task.payload) % 7 == 0:
            raise ValueError("once more")
        return int(task.payload)

    tasks = [Task("number", str(number)) for number in range(60)]
    info = await AsyncClient(lab.broker).enqueue_join(tasks, then=Task("sum"))
    options = {"retry_delay": lambda *_: timedelta(0)}
    async with lab.serving(handler, **options), lab.serving(handler, **options):
        await aeventually(lambda: sums == [sum(range(60))])
        await lab.reaches(info.id, None)
    assert len(sums) == 1


@pytest.mark.parametrize("broken", [ops.Arrive, ops.FinishParent])
async def test_an_arrival_that_is_interrupted_is_repeated(broken: type[ops.Op[Any]]) -> None:
    clock = FakeClock()
    broker = Breaking(clock=clock)
    await AsyncClient(broker).enqueue_join([Task("t")] * 2, then=Task("all", queue="low"))
    await complete(broker)
    await complete(broker)
    broker.broken = broken
    delivery = delivery_of(broker)
    with pytest.raises(BrokerUnavailable):
        await delivery.step()
    broker.broken = None
    clock.advance(HOLD + 2000)
    await delivery.step()
    stats = await broker.aexecute(ops.GetQueueStats(queue="low"))
    assert (stats.pending, stats.size) == (1, 1)


async def test_members_of_a_join_whose_last_task_was_deleted_go(memory: ServerLab) -> None:
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    info = await AsyncClient(broker).enqueue_join([Task("t")], then=Task("all", queue="low"))
    await broker.aexecute(ops.DeleteTask(queue="low", task_id=info.id))
    await complete(broker)
    await delivery_of(broker).step()
    assert await sizes(broker, "default", "low") == [0, 0]


async def test_members_of_an_earlier_join_do_not_arrive_at_a_new_task_with_its_id(memory: ServerLab) -> None:
    broker = memory.broker
    client = AsyncClient(broker)
    last = Task("all", queue="low", task_id="all")
    await client.enqueue_join([Task("t")], then=last)
    await broker.aexecute(ops.DeleteTask(queue="low", task_id="all"))
    await client.enqueue_join([Task("t", queue="other")], then=last)
    assert isinstance(broker, MemoryBroker)
    await complete(broker)
    await delivery_of(broker).step()
    task = await broker.aexecute(ops.GetTask(queue="low", task_id="all"))
    assert task.waiting
    assert await sizes(broker, "default", "other", "low") == [0, 1, 1]
