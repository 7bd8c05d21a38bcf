"""Servers that end by themselves: after a burst, and at a limit."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import BrokerUnavailable, MemoryBroker, ServeMux, Server, Task, TaskState
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import ListTasks, PauseQueue, Ping
from asynq.runtime.process_limits import process_memory
from asynq.worker.loops.burst import CHECKS, Burst
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.served_queues import ServedQueues
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asynq.protocol.ops import Op
    from tests.server.conftest import ServerLab


@asynccontextmanager
async def ending(server: Server) -> AsyncIterator[None]:
    """A server at work, which must end by itself after the block."""
    serving = asyncio.create_task(server.serve())
    try:
        yield
        await asyncio.wait_for(asyncio.shield(serving), PATIENCE)
    finally:
        await server.shutdown()
        await serving


async def is_at(lab: ServerLab, instant: int) -> bool:
    """Whether the broker's clock has reached an instant."""
    return await lab.broker.aexecute(Ping()) >= instant


class Counting:
    """A handler that counts its runs."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def __call__(self, ctx: Any, task: Any) -> None:
        self.ran.append(ctx.task_id)


class HalfAway(MemoryBroker):
    """A broker of which the part with some queues cannot be reached."""

    away = frozenset({"q"})

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        answers = await super().aexecute_many(ops)
        return [
            BrokerUnavailable("away") if getattr(op, "queue", "") in self.away else answer
            for op, answer in zip(ops, answers, strict=True)
        ]


async def test_a_burst_goes_on_while_a_queue_cannot_be_reached() -> None:
    broker = HalfAway()
    served = ServedQueues(QueuePriority.of(["q"]), QueueLimits({}, {}))
    ended: list[bool] = []
    burst = Burst(
        broker,
        served,
        runs=tuple,
        time=BrokerTime(),
        aggregates=False,
        finish=lambda: ended.append(True),
    )
    for _ in range(CHECKS + 1):
        await burst.step()
    assert not ended
    broker.away = frozenset()
    for _ in range(CHECKS):
        await burst.step()
    assert ended == [True]


async def test_a_burst_ends_when_every_task_that_is_due_has_run(lab: ServerLab) -> None:
    handler = Counting()
    ids = [await lab.enqueue() for _ in range(20)]
    later = await lab.enqueue(process_in=3_600_000)
    due = await lab.enqueue(process_in=1)
    due_at = (await lab.reaches(due, TaskState.SCHEDULED)).due_at
    await aeventually(lambda: is_at(lab, due_at))
    server = Server(lab.broker, handler=handler, burst=True, concurrency=4)
    async with ending(server):
        pass
    assert sorted(handler.ran) == sorted([*ids, due])
    assert (await lab.reaches(later, TaskState.SCHEDULED)).state is TaskState.SCHEDULED
    assert (server.state, server.end_reason) == ("closed", "idle")


async def test_a_burst_waits_for_what_its_handlers_enqueue(lab: ServerLab) -> None:
    ran = []

    async def handle(ctx: Any, task: Any) -> None:
        ran.append(ctx.task_id)
        if len(ran) < 5:
            await lab.enqueue()

    await lab.enqueue()
    async with ending(Server(lab.broker, handler=handle, burst=True)):
        pass
    assert len(ran) == 5


async def test_a_burst_of_empty_or_unknown_queues_ends_at_once(lab: ServerLab) -> None:
    async with ending(Server(lab.broker, handler=Counting(), queues=["none", "default"], burst=True)):
        pass


async def test_a_burst_leaves_the_tasks_of_a_paused_queue(lab: ServerLab) -> None:
    task_id = await lab.enqueue()
    await lab.broker.aexecute(PauseQueue(queue="default"))
    async with ending(Server(lab.broker, handler=Counting(), burst=True)):
        pass
    assert (await lab.reaches(task_id, TaskState.PENDING)).state is TaskState.PENDING


@pytest.mark.parametrize("concurrency", [1, 3, 20])
async def test_a_server_runs_exactly_as_many_tasks_as_it_may(lab: ServerLab, concurrency: int) -> None:
    handler = Counting()
    ids = [await lab.enqueue() for _ in range(30)]
    server = Server(lab.broker, handler=handler, max_tasks=7, concurrency=concurrency)
    async with ending(server):
        pass
    assert len(handler.ran) == 7
    assert server.end_reason == "limit"
    left = set(ids) - set(handler.ran)
    assert all([await lab.find(task_id) is not None for task_id in left])


async def test_a_server_ends_when_its_process_has_grown(lab: ServerLab) -> None:
    gc.collect()  # memory that is freed meanwhile would make room for what the handler holds
    limit = process_memory() + 50_000_000
    held = []

    async def grow(ctx: Any, task: Any) -> None:
        held.append(b"x" * 200_000_000)

    server = Server(lab.broker, handler=grow, max_memory=limit)
    async with ending(server):
        await lab.enqueue()
    assert (len(held), server.end_reason) == (1, "limit")


class Held:
    """A handler that runs until it is released."""

    def __init__(self) -> None:
        self.began, self.released = asyncio.Event(), asyncio.Event()
        self.kept = b""

    async def __call__(self, ctx: Any, task: Any) -> None:
        self.kept = b"x" * len(task.payload) * 200_000_000
        self.began.set()
        await self.released.wait()


@pytest.mark.parametrize("limit", ["max_tasks", "max_memory"])
async def test_a_server_at_its_limit_lets_its_tasks_end_whatever_the_shutdown_timeout(
    lab: ServerLab, limit: str
) -> None:
    handler = Held()
    gc.collect()
    most = 1 if limit == "max_tasks" else process_memory() + 50_000_000
    options: Any = {limit: most, "concurrency": 1, "shutdown_timeout": timedelta(0)}
    options["lease"] = timedelta(seconds=1)
    server = Server(lab.broker, handler=handler, **options)
    async with ending(server):
        task_id = await lab.enqueue(payload=b"1", retention=60)
        await handler.began.wait()
        await aeventually(lambda: server.state == "stopped")
        left = await lab.enqueue()
        await lab.keeps_its_lease(task_id, beyond=0)
        handler.released.set()
    assert (await lab.reaches(task_id, TaskState.COMPLETED)).message.retried == 0
    assert await lab.find(left)
    assert (server.state, server.end_reason) == ("closed", "limit")


async def test_a_server_at_its_limit_is_shut_down_within_the_shutdown_timeout(memory: ServerLab) -> None:
    handler = Held()
    server = Server(memory.broker, handler=handler, max_tasks=1, shutdown_timeout=timedelta(0))
    async with ending(server):
        task_id = await memory.enqueue()
        await aeventually(lambda: server.state == "stopped")
        await server.shutdown()
    assert server.end_reason is None
    assert (await memory.reaches(task_id, TaskState.PENDING)).message.retried == 0


async def test_a_server_at_its_limit_lets_its_aggregations_end(memory: ServerLab) -> None:
    began, released = asyncio.Event(), asyncio.Event()

    async def aggregate(group: str, tasks: Any) -> Task:
        began.set()
        await released.wait()
        return Task("aggregate")

    server = Server(
        memory.broker,
        handler=Counting(),
        max_tasks=1,
        aggregator=aggregate,
        group_max_size=1,
        shutdown_timeout=timedelta(0),
    )
    async with ending(server):
        await memory.enqueue(group="g")
        await began.wait()
        await memory.enqueue()
        await aeventually(lambda: server.state == "stopped")
        released.set()
    (stored,) = await memory.broker.aexecute(ListTasks(queue="default", state=TaskState.PENDING, limit=10))
    assert (stored.message.type, server.end_reason) == ("aggregate", "limit")


def in_process(ctx: Any, task: Any) -> str:
    return str(os.getpid())


async def test_processes_with_handlers_are_replaced_and_no_task_is_lost(lab: ServerLab) -> None:
    mux = ServeMux()
    mux.handle("t", in_process, executor="process")
    ids = [await lab.enqueue(retention=60) for _ in range(6)]
    async with lab.serving(mux, max_tasks_per_child=2, concurrency=2):
        done = [await lab.reaches(task_id, TaskState.COMPLETED) for task_id in ids]
    processes = [stored.result for stored in done]
    assert max(processes.count(each) for each in processes) <= 2
    assert str(os.getpid()).encode() not in processes


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"burst": 1}, TypeError),
        ({"max_tasks": 0}, ValueError),
        ({"max_tasks": True}, TypeError),
        ({"max_memory": -1}, ValueError),
        ({"max_memory": "1GB"}, TypeError),
        ({"max_tasks_per_child": 0}, ValueError),
        ({"max_memory_per_child": 1.5}, TypeError),
    ],
)
def test_conditions_that_have_no_meaning_are_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Server("memory://", **options)


async def test_a_server_that_is_told_to_stop_has_no_reason_of_its_own(lab: ServerLab) -> None:
    server = Server(lab.broker, handler=Counting(), shutdown_timeout=timedelta(0))
    await server.start()
    await server.shutdown()
    assert server.end_reason is None
