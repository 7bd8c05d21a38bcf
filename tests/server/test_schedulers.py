"""Schedulers that a server carries: they start and end with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asynq import (
    Context,
    MemoryBroker,
    PeriodicTaskConfig,
    PeriodicTaskManager,
    Scheduler,
    Server,
    ServerStateError,
    Task,
)
from asynq.scheduler.group import SchedulerGroup
from tests.waiting import PATIENCE


async def ignore(ctx: Context, task: Task) -> None:
    return None


async def test_a_server_starts_and_ends_its_schedulers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "asynq")
    broker = MemoryBroker()
    ran: asyncio.Queue[str] = asyncio.Queue()

    async def handle(ctx: Context, task: Task) -> None:
        ran.put_nowait(task.type)

    scheduler = Scheduler(broker)
    scheduler.register("@every 1s", Task("fixed"))
    manager = PeriodicTaskManager(broker, lambda: [PeriodicTaskConfig("@every 1s", Task("provided"))])
    server = Server(broker, handler=handle, scheduler=[scheduler, manager])
    await server.start()
    async with asyncio.timeout(PATIENCE):
        types = {await ran.get()}
        while len(types) < 2:
            types.add(await ran.get())
    await server.shutdown()
    assert types == {"fixed", "provided"}
    assert (scheduler.state, manager.state) == ("closed", "closed")
    lines = [(record.name, record.message) for record in caplog.records if record.message == "closed"]
    assert lines == [("asynq.scheduler", "closed")] * 2 + [("asynq.server", "closed")]


async def test_a_scheduler_that_cannot_start_ends_the_start_of_its_server() -> None:
    def fail() -> list[PeriodicTaskConfig]:
        raise RuntimeError("on purpose")

    broker = MemoryBroker()
    started = Scheduler(broker)
    server = Server(broker, handler=ignore, scheduler=(started, PeriodicTaskManager(broker, fail)))
    with pytest.raises(RuntimeError, match="on purpose"):
        await server.start()
    assert (server.state, started.state) == ("closed", "closed")


async def test_a_shutdown_during_the_start_of_a_scheduler_ends_the_start() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def provide() -> list[PeriodicTaskConfig]:
        asked.set()
        await answer.wait()
        return []

    broker = MemoryBroker()
    manager = PeriodicTaskManager(broker, provide)
    server = Server(broker, handler=ignore, scheduler=manager)
    starting = asyncio.create_task(server.start())
    await asked.wait()
    await server.shutdown()
    answer.set()
    with pytest.raises(ServerStateError):
        await starting
    assert (server.state, manager.state) == ("closed", "closed")


@pytest.mark.parametrize("given", ["scheduler", 5, [None]])
def test_what_is_not_a_scheduler_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="scheduler"):
        Server(MemoryBroker(), scheduler=given)


async def test_a_group_ends_when_each_of_its_schedulers_was_shut_down() -> None:
    broker = MemoryBroker()
    schedulers = [Scheduler(broker), Scheduler(broker)]
    group = SchedulerGroup.of(schedulers)
    assert group is not None
    await group.start()
    for each in schedulers:
        await each.shutdown()
    await group.shutdown()
    assert group.state == "closed"


def test_a_server_without_schedulers_has_no_group() -> None:
    assert SchedulerGroup.of(()) is None
