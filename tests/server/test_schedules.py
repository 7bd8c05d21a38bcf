"""Schedules kept in the broker, and the schedulers that follow them, on every broker."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from asynq import (
    AsyncSchedules,
    CronError,
    DuplicateTaskError,
    EntryNotFoundError,
    MemoryBroker,
    QueueNotFoundError,
    ScheduleRunner,
    Schedules,
    Task,
    TaskState,
)
from asynq.client.options import Options
from asynq.clock import FakeClock
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import (
    Dequeue,
    ListSchedulerEntries,
    ListSchedules,
    ListTasks,
    Unique,
    WriteSchedule,
)
from asynq.protocol.schedules import StoredSchedule
from asynq.scheduler.entries import Entry, Registry
from asynq.scheduler.ticker import Ticker, TickHooks
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.server.conftest import ServerLab

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
NOON = int(datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)
DAILY = "0 9 * * *"
DAY = 24 * HOUR
TOKENS = count()


@pytest.fixture(params=["called", "awaited"])
async def ask(request: pytest.FixtureRequest, lab: ServerLab) -> Callable[..., Awaitable[Any]]:
    """Calls a method of each kind: `await ask("pause", "nightly")`."""
    plain, awaited = Schedules(lab.broker), AsyncSchedules(lab.broker)

    async def called(verb: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(lambda: getattr(plain, verb)(*args, **options))

    async def awaits(verb: str, *args: Any, **options: Any) -> Any:
        return await getattr(awaited, verb)(*args, **options)

    return called if request.param == "called" else awaits


@asynccontextmanager
async def running(lab: ServerLab, **options: Any) -> AsyncIterator[ScheduleRunner]:
    runner = ScheduleRunner(lab.broker, sync_interval=timedelta(seconds=1), **options)
    await runner.start()
    try:
        yield runner
    finally:
        await runner.shutdown()


async def pending(lab: ServerLab, queue: str = "default") -> list[TaskMessage]:
    try:
        tasks = await lab.broker.aexecute(ListTasks(queue=queue, state=TaskState.PENDING, limit=1000))
    except QueueNotFoundError:
        return []
    return [task.message for task in tasks]


# --- managing -------------------------------------------------------------------------------------------


async def test_a_schedule_is_listed_with_its_times(ask: Any) -> None:
    task = Task("report", {"n": 1}, queue="low", max_retry=3)
    await ask("set", "nightly", DAILY, task, location=ZoneInfo("Europe/Berlin"), retention=timedelta(days=1))
    [info] = await ask("list")
    assert (info.name, info.spec, info.location) == ("nightly", DAILY, "Europe/Berlin")
    assert (info.task_type, info.queue, info.payload, info.paused) == ("report", "low", b'{"n":1}', False)
    assert info.next_run_at.astimezone(ZoneInfo("Europe/Berlin")).hour == 9
    assert info.last_run_at is None
    assert await ask("get", "nightly") == info


async def test_a_schedule_is_changed_paused_and_removed(ask: Any) -> None:
    await ask("set", "nightly", DAILY, Task("report"))
    await ask("pause", "nightly")
    await ask("set", "nightly", "@hourly", Task("report"))
    info = await ask("get", "nightly")
    assert (info.spec, info.paused, info.next_run_at) == ("@hourly", True, None)
    await ask("unpause", "nightly")
    assert (await ask("get", "nightly")).next_run_at is not None
    await ask("remove", "nightly")
    assert await ask("list") == ()


@pytest.mark.parametrize("verb", ["pause", "unpause", "remove", "run", "get"])
async def test_an_unknown_name_is_an_error(ask: Any, verb: str) -> None:
    with pytest.raises(EntryNotFoundError, match="nightly"):
        await ask(verb, "nightly")


async def test_a_schedule_runs_now_with_all_its_options(ask: Any, lab: ServerLab) -> None:
    task = Task("report", b"x", headers={"h": "1"}, process_in=timedelta(hours=1))
    await ask("set", "nightly", DAILY, task, unique=timedelta(hours=1), max_retry=3, queue="low")
    await ask("pause", "nightly")
    info = await ask("run", "nightly")
    [message] = await pending(lab, "low")
    assert (message.id, message.payload, message.max_retry, message.headers) == (info.id, b"x", 3, {"h": "1"})
    assert info.state is TaskState.PENDING
    with pytest.raises(DuplicateTaskError):
        await ask("run", "nightly")


async def test_invalid_schedules_are_refused_and_nothing_is_kept(ask: Any) -> None:
    with pytest.raises(CronError):
        await ask("set", "nightly", "0 0 30 2 *", Task("t"))
    with pytest.raises(ValueError, match="name must not be blank"):
        await ask("set", " ", DAILY, Task("t"))
    with pytest.raises(ValueError, match="process_at has no meaning"):
        await ask("set", "nightly", DAILY, Task("t"), process_at=datetime(2040, 1, 1, tzinfo=UTC))
    with pytest.raises(TypeError, match="location"):
        await ask("set", "nightly", DAILY, Task("t"), location=UTC)
    assert await ask("list") == ()


# --- running --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", ["awaited"], indirect=True)
async def test_schedulers_follow_changes_and_enqueue_each_tick_once(ask: Any, lab: ServerLab) -> None:
    async with running(lab), running(lab):
        await ask("set", "often", "@every 1s", Task("t"), task_id="one")
        await aeventually(lambda: lab.find("one"))
        await aeventually(lambda: lab.broker.aexecute(ListSchedulerEntries()))
        [entry] = await lab.broker.aexecute(ListSchedulerEntries())
        assert (entry.id, entry.spec) == ((await ask("get", "often")).entry_id, "@every 1s")

        async def ran() -> bool:
            return (await ask("get", "often")).last_run_at is not None

        await aeventually(ran)
        await ask("remove", "often")

        async def gone() -> bool:
            return await lab.broker.aexecute(ListSchedulerEntries()) == ()

        await aeventually(gone)


async def test_a_schedule_that_cannot_be_followed_does_not_stop_the_others(
    lab: ServerLab, caplog: pytest.LogCaptureFixture
) -> None:
    message = TaskMessage(id="", type="t", queue="default")
    for name, zone in (("odd", "Mars/Phobos"), ("often", "UTC")):
        schedule = StoredSchedule(name=name, spec="@every 1s", location=zone, message=message)
        await lab.broker.aexecute(WriteSchedule(schedule=schedule))
    async with running(lab):
        await aeventually(lambda: pending(lab))
    assert caplog.text.count("schedule 'odd' is not followed") == 1


# --- tick by tick ---------------------------------------------------------------------------------------


class Ticking:
    """A ticker that follows the schedules of a broker, on a clock that the test moves."""

    def __init__(self, broker: MemoryBroker, clock: FakeClock, *, catch_up: int = 0) -> None:
        self.broker, self.clock, self.catch_up = broker, clock, catch_up
        self.schedules = Schedules(broker)
        self.registry = Registry()
        hooks = TickHooks()
        ids = count()
        self.ticker = Ticker(
            broker, self.registry, catch_up=catch_up, hooks=hooks, new_id=lambda: f"{id(self)}-{next(ids)}"
        )

    async def step(self, milliseconds: int = 0) -> int:
        """Move the clock, read the schedules, and enqueue what is due; the number of tasks."""
        self.clock.advance(milliseconds)
        self.registry.replace(map(Entry.of_stored, self.broker.execute(ListSchedules())))
        await self.ticker.step()
        return len(
            self.broker.execute(Dequeue(orders=(("default",),) * 50, token=str(next(TOKENS)), lease=DAY))
        )


@pytest.fixture(params=[0, 6 * HOUR])
def ticking(request: pytest.FixtureRequest) -> Iterator[Ticking]:
    clock = FakeClock(NOON)
    broker = MemoryBroker(clock=clock)
    yield Ticking(broker, clock, catch_up=request.param)
    broker.close()


async def test_a_changed_schedule_begins_at_the_change(ticking: Ticking) -> None:
    ticking.schedules.set("nightly", "@hourly", Task("t"))
    assert [await ticking.step(), await ticking.step(HOUR)] == [0, 1]
    ticking.schedules.set("nightly", "@every 10m", Task("t"))
    assert [await ticking.step(5 * MINUTE), await ticking.step(5 * MINUTE)] == [0, 1]
    ticking.schedules.set("nightly", "@every 10m", Task("t", b"another payload"))
    assert [await ticking.step(), await ticking.step(10 * MINUTE)] == [0, 1]


async def test_ticks_of_a_pause_are_never_enqueued(ticking: Ticking) -> None:
    ticking.schedules.set("nightly", "@hourly", Task("t"))
    assert [await ticking.step(), await ticking.step(HOUR)] == [0, 1]
    ticking.schedules.pause("nightly")
    assert [await ticking.step(), await ticking.step(HOUR), await ticking.step(HOUR)] == [0, 0, 0]
    assert [entry.next_enqueue_at for entry in ticking.ticker.described()] == [None]
    ticking.schedules.unpause("nightly")
    assert [await ticking.step(), await ticking.step(HOUR)] == [0, 1]


async def test_a_scheduler_that_starts_later_makes_up_for_no_ticks_of_a_pause_or_another_version() -> None:
    clock = FakeClock(NOON)
    broker = MemoryBroker(clock=clock)
    ticking = Ticking(broker, clock)
    for name in ("paused", "changed", "same"):
        ticking.schedules.set(name, "@hourly", Task(name))
    assert [await ticking.step(), await ticking.step(HOUR)] == [0, 3]
    ticking.schedules.pause("paused")
    clock.advance(4 * HOUR - MINUTE)
    ticking.schedules.unpause("paused")
    ticking.schedules.set("changed", "@every 10m", Task("changed"))
    ticking.schedules.set("same", "@hourly", Task("same"))
    later = Ticking(broker, clock, catch_up=6 * HOUR)
    late = [await later.step(MINUTE) for _ in range(1)] + [await later.step() for _ in range(5)]
    assert sum(late) == len(["paused", "changed"]) + 4 * len(["same"])
    broker.close()


async def test_a_change_is_followed_from_its_instant_on(ticking: Ticking) -> None:
    ticking.schedules.set("often", "@hourly", Task("t"))
    await ticking.step()
    ticking.schedules.set("often", "@every 1s", Task("t"))
    # The runner reads the change two seconds later.
    assert await ticking.step(2 * SECOND) + await ticking.step() == (2 if ticking.catch_up else 1)


async def test_an_unchanged_schedule_keeps_its_ticks(ticking: Ticking) -> None:
    ticking.schedules.set("nightly", "@hourly", Task("t"))
    await ticking.step(HOUR - 1)
    assert not ticking.registry.replace(ticking.registry.all().values())[0]
    assert await ticking.step(1) == 1
    last = ticking.schedules.get("nightly").last_run_at
    assert last == datetime(2030, 1, 1, 13, tzinfo=UTC)


def test_the_entry_of_a_schedule_has_the_same_id_after_a_change() -> None:
    message = TaskMessage(id="", type="t", queue="low", max_retry=3)
    one = StoredSchedule(name="n", spec="@hourly", location="UTC", message=message)
    two = StoredSchedule(name="n", spec="@daily", location="UTC", message=message)
    assert Entry.of_stored(one).id == Entry.of_stored(two).id
    assert Entry.of_stored(one).over == Options(queue="low", max_retry=3)


async def test_a_schedule_that_is_set_with_keep_changes_only_what_is_given(
    lab: ServerLab, ask: Callable[..., Awaitable[Any]]
) -> None:
    zone, hour = ZoneInfo("Europe/Berlin"), timedelta(hours=1)
    task = Task("t", "x", headers={"a": "1"}, retention=hour, sequence="s")
    await ask("set", "n", DAILY, task, location=zone, queue="low", unique=hour, key="k", task_id="own")
    (before,) = await lab.broker.aexecute(ListSchedules())
    await ask("set", "n", "@daily", Task("t", headers={"b": "2"}), keep=True, max_retry=1)
    (after,) = await lab.broker.aexecute(ListSchedules())
    headers = {**before.message.headers, "b": "2"}
    assert after.message == replace(before.message, headers=headers, max_retry=1)
    assert (after.spec, after.location) == ("@daily", "Europe/Berlin")
    assert (after.unique, after.on_conflict) == (before.unique, before.on_conflict)
    await ask("set", "n", "@daily", Task("t"))
    (info,) = await ask("list")
    assert (info.location, info.queue, info.payload) == ("UTC", "default", b"")


async def test_a_lock_by_payload_follows_what_is_set_with_keep(
    lab: ServerLab, ask: Callable[..., Awaitable[Any]]
) -> None:
    hour = timedelta(hours=1)
    await ask("set", "n", DAILY, Task("t", "x"), unique=hour)
    await ask("set", "n", DAILY, Task("t", "y"), keep=True, queue="low")
    (kept,) = await lab.broker.aexecute(ListSchedules())
    await ask("set", "n", DAILY, Task("t", "y"), queue="low", unique=hour)
    assert (await lab.broker.aexecute(ListSchedules()))[0].message == kept.message
    await ask("set", "n", DAILY, Task("t"), keep=True, unique=2 * hour)
    (longer,) = await lab.broker.aexecute(ListSchedules())
    assert longer.message == kept.message
    assert longer.unique == Unique(ttl=2 * HOUR)
