"""Servers and schedulers are seen while they live, on every broker."""

from __future__ import annotations

import asyncio
import os
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import (
    AsyncInspector,
    EnqueueEvent,
    EntryNotFoundError,
    Inspector,
    PeriodicTaskConfig,
    PeriodicTaskManager,
    Scheduler,
    SchedulerEntry,
    Task,
)
from asynq.errors import ServerStateError
from asynq.inspector.inspect import EVENTS
from asynq.protocol.ops import (
    ListEnqueueEvents,
    ListSchedulerEntries,
    ListServers,
    RecordEnqueueEvent,
    WriteScheduler,
)
from asynq.protocol.presence import MAX_SHOWN_PAYLOAD
from asynq.task_state import TaskState
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from tests.server.conftest import ServerLab


async def answers(lab: ServerLab, op: Op[Any], wanted: Callable[[Any], object]) -> Any:
    """Ask until the answer is what is wanted."""
    answer: Any = None

    async def found() -> bool:
        nonlocal answer
        answer = await lab.broker.aexecute(op)
        return bool(wanted(answer))

    await aeventually(found, explain=lambda: answer)
    return answer


async def test_a_server_is_listed_from_its_start_to_its_end(lab: ServerLab) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with lab.serving(lambda _, __: None, concurrency=3, queues={"a": 2, "b": 1}) as server:
        (seen,) = await answers(lab, ListServers(), len)
        assert (seen.pid, seen.concurrency, seen.queues) == (os.getpid(), 3, {"a": 2, "b": 1})
        assert (seen.status, seen.strict_priority, seen.workers) == ("active", False, ())
        assert before <= seen.started_at <= datetime.now(UTC)
        server.stop()
        await answers(lab, ListServers(), lambda found: found[0].status == "stopped")
    assert await lab.broker.aexecute(ListServers()) == ()


async def test_a_server_shows_its_running_tasks_with_shortened_payloads(memory: ServerLab) -> None:
    going_on = asyncio.Event()

    async def handler(_: object, __: object) -> None:
        await going_on.wait()

    async with memory.serving(handler) as server:
        task_id = await memory.enqueue("video:encode", payload=b"x" * 10_000, timeout=60)
        await memory.reaches(task_id, TaskState.ACTIVE)
        server.stop()  # writes at once
        (seen,) = await answers(memory, ListServers(), lambda found: found and found[0].workers)
        (worker,) = seen.workers
        assert (worker.task_id, worker.task_type, worker.queue) == (task_id, "video:encode", "default")
        assert worker.payload == b"x" * MAX_SHOWN_PAYLOAD
        assert worker.deadline - worker.started_at == timedelta(seconds=60)
        going_on.set()


async def test_schedulers_enqueue_each_tick_once_and_are_listed_while_they_run(lab: ServerLab) -> None:
    schedulers = [Scheduler(lab.broker) for _ in range(2)]
    task = Task("tick", queue="ticks")
    (entry_id,) = {scheduler.register("@every 1s", task) for scheduler in schedulers}
    for scheduler in schedulers:
        await scheduler.start()
    events = await answers(lab, ListEnqueueEvents(entry_id=entry_id), lambda found: len(found) >= 2)
    (seen,) = await lab.broker.aexecute(ListSchedulerEntries())
    assert (seen.id, seen.spec, seen.options) == (entry_id, "@every 1s", ('Queue("ticks")',))
    for scheduler in schedulers:
        await scheduler.shutdown()
    assert await lab.broker.aexecute(ListSchedulerEntries()) == ()
    seconds = [int(event.enqueued_at.timestamp()) for event in events]
    assert len(seconds) == len(set(seconds))
    for event in events:
        assert await lab.find(event.task_id, "ticks")


async def test_entries_registered_on_a_running_scheduler_take_effect(memory: ServerLab) -> None:
    scheduler = Scheduler(memory.broker)
    serving = asyncio.create_task(scheduler.serve())
    await asyncio.sleep(0)
    entry_id = await asyncio.to_thread(scheduler.register, "@every 1s", Task("tick"))
    await answers(memory, ListEnqueueEvents(entry_id=entry_id), len)
    await answers(memory, ListSchedulerEntries(), len)
    scheduler.unregister(entry_id)
    await answers(memory, ListSchedulerEntries(), lambda found: not found)
    with pytest.raises(EntryNotFoundError):
        scheduler.unregister(entry_id)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert scheduler.state == "closed"
    with pytest.raises(ServerStateError, match="the scheduler"):
        await scheduler.start()


async def test_a_manager_applies_changes_of_its_provider(memory: ServerLab) -> None:
    wanted: list[Any] = [PeriodicTaskConfig("@hourly", Task("a")), PeriodicTaskConfig("@hourly", Task("a"))]

    def provide() -> list[Any]:
        if not wanted:
            raise OSError("the file is gone")
        return list(wanted)

    manager = PeriodicTaskManager(memory.broker, provide)
    await manager.start()
    try:
        seen = await answers(memory, ListSchedulerEntries(), len)
        assert [entry.task_type for entry in seen] == ["a", "a"]

        wanted[:] = [
            PeriodicTaskConfig("bad spec", Task("b")),
            "no config",
            PeriodicTaskConfig("@hourly", Task("a")),
            PeriodicTaskConfig("@hourly", Task("a", headers={"h": "1"})),
        ]
        await manager.sync()
        changed = await answers(memory, ListSchedulerEntries(), lambda found: found != seen)
        assert [entry.options for entry in changed if entry.id == seen[0].id] == [()]
        assert {entry.options for entry in changed} == {(), ('Header(["h","1"])',)}

        wanted.clear()
        with pytest.raises(OSError, match="gone"):
            await manager.sync()
        assert await memory.broker.aexecute(ListSchedulerEntries()) == changed
    finally:
        await manager.shutdown()


@pytest.mark.parametrize("plain", [False, True])
async def test_a_provider_that_never_returns_does_not_delay_the_shutdown(
    memory: ServerLab, monkeypatch: pytest.MonkeyPatch, plain: bool
) -> None:
    monkeypatch.setattr("asynq.scheduler.base_scheduler.USER_CALL_TIMEOUT", 0.05)
    asked, hanging, let_go = [0], threading.Event(), threading.Event()

    def provide() -> Any:
        asked[0] += 1
        if asked[0] > 1:
            hanging.set()
            if not plain:
                return asyncio.Event().wait()
            let_go.wait()
        return [PeriodicTaskConfig("@hourly", Task("a"))]

    manager = PeriodicTaskManager(memory.broker, provide, sync_interval=timedelta(milliseconds=1))
    await manager.start()
    try:
        await aeventually(hanging.is_set)
        async with asyncio.timeout(PATIENCE):
            await manager.shutdown()
        assert manager.state == "closed"
        assert await memory.broker.aexecute(ListSchedulerEntries()) == ()
    finally:
        let_go.set()


async def test_a_hook_that_never_returns_does_not_delay_the_shutdown(
    memory: ServerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynq.scheduler.base_scheduler.USER_CALL_TIMEOUT", 0.05)
    hanging = asyncio.Event()

    async def never_returns(_: Task) -> None:
        hanging.set()
        await asyncio.Event().wait()

    scheduler = Scheduler(memory.broker, pre_enqueue=never_returns)
    scheduler.register("@every 1s", Task("a"))
    await scheduler.start()
    async with asyncio.timeout(PATIENCE):
        await hanging.wait()
        await scheduler.shutdown()
    assert await memory.broker.aexecute(ListSchedulerEntries()) == ()


@pytest.mark.parametrize("answer", [["no config"], [PeriodicTaskConfig("bad spec", Task("b"))]])
async def test_a_manager_does_not_start_with_invalid_configs(memory: ServerLab, answer: Any) -> None:
    async def provide() -> Any:
        return answer

    with pytest.raises((TypeError, ValueError)):
        await PeriodicTaskManager(memory.broker, provide).start()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"location": "Europe/Berlin"}, TypeError),
        ({"catch_up": timedelta(seconds=-1)}, ValueError),
        ({"catch_up": 5}, TypeError),
        ({"pre_enqueue": "x"}, TypeError),
        ({"post_enqueue": 1}, TypeError),
    ],
)
async def test_misuse_of_a_scheduler_names_the_option(memory: ServerLab, options: Any, error: Any) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Scheduler(memory.broker, **options)
    with pytest.raises(error, match=next(iter(options))):
        PeriodicTaskManager(memory.broker, list, **options)
    with pytest.raises(ValueError, match=r"^sync_interval must be positive$"):
        PeriodicTaskManager(memory.broker, list, sync_interval=timedelta(0))


def test_an_unknown_option_of_a_periodic_task_is_refused_by_its_name() -> None:
    option: Any = {"quue": "low"}
    with pytest.raises(TypeError, match=r"PeriodicTaskConfig\(\) .*'quue'; did you mean 'queue'"):
        PeriodicTaskConfig("@hourly", Task("t"), **option)


@pytest.mark.parametrize("count", [0, 1, EVENTS, 2 * EVENTS + 1])
async def test_inspectors_list_servers_schedulers_and_events(memory: ServerLab, count: int) -> None:
    scheduler_entry = SchedulerEntry(id="e", spec="@hourly", task_type="t")
    first = datetime(2030, 1, 1, tzinfo=UTC)
    events = [
        EnqueueEvent(task_id=f"t{number}", enqueued_at=first + timedelta(hours=number))
        for number in range(count)
    ]
    await memory.broker.aexecute(WriteScheduler(scheduler_id="s", entries=(scheduler_entry,), ttl=10_000))
    await memory.broker.aexecute_many(
        [RecordEnqueueEvent(entry_id="e", event=event, keep=10_000) for event in events]
    )
    async with memory.serving(lambda _, __: None):
        seen = await answers(memory, ListServers(), len)
        inspector, awaited = Inspector(memory.broker), AsyncInspector(memory.broker)
        assert inspector.servers() == await awaited.servers() == seen
    assert inspector.scheduler_entries() == await awaited.scheduler_entries() == (scheduler_entry,)
    assert list(inspector.enqueue_events("e")) == events[::-1]
    assert [event async for event in awaited.enqueue_events("e")] == events[::-1]
