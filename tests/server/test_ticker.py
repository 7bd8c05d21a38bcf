"""Periodic tasks, tick by tick, on a clock that only the test moves."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import pytest

from asynq import (
    BrokerFullError,
    BrokerUnavailable,
    DuplicateTaskError,
    PayloadTooLargeError,
    QueueNotFoundError,
    Task,
)
from asynq.client.options import Options
from asynq.clock import FakeClock
from asynq.protocol.ops import Archive, Complete, Dequeue, Done, EnqueueTick, ListEnqueueEvents, ListTasks
from asynq.scheduler.entries import Entry, Registry
from asynq.scheduler.ticker import MAX_PAUSE, Ticker, TickHooks
from asynq.task_state import TaskState
from asynq_sqlite import MemoryBroker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.errors import AsynqError
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

T = TypeVar("T")

NOON = int(datetime(2030, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


class Flaky:
    """A broker that does what it is asked and then says it did not, or refuses to."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.lost_replies = 0
        self.refusals = 0
        self.away = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    async def aexecute(self, op: Op[T]) -> T:
        if self.away:
            raise BrokerUnavailable("away")
        return await self.broker.aexecute(op)

    async def aexecute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        ticks = isinstance(ops[0], EnqueueTick)
        if ticks and self.refusals:
            self.refusals -= 1
            return [BrokerFullError("full")] * len(ops)
        answers = await self.broker.aexecute_many(ops)
        if ticks and self.lost_replies:
            self.lost_replies -= 1
            raise BrokerUnavailable("gone", maybe_applied=True)
        return answers


IDS = itertools.count()
"""No ticker gives an id of another, also of one that is gone."""


class SteppedTicker:
    """A scheduler's ticker, stepped by hand."""

    def __init__(self, broker: Any, *entries: Entry, catch_up: int = 0, **hooks: Any) -> None:
        self.registry = Registry()
        self.registry.replace(entries)
        self.ticker = Ticker(
            broker,
            self.registry,
            catch_up=catch_up,
            hooks=TickHooks(**hooks),
            new_id=lambda: str(next(IDS)),
        )

    async def until_idle(self) -> float:
        """Step until nothing is due; the pause asked for."""
        while (pause := await self.ticker.step()) == 0:
            pass
        assert pause is not None
        return pause


def entry(spec: str = "*/5 * * * *", type: str = "t", **options: Any) -> Entry:  # noqa: A002
    return Entry.of(spec, Task(type), Options(**options), ZoneInfo("UTC"))


def enqueued(broker: MemoryBroker, queue: str = "default") -> Counter[str]:
    """How many tasks of each type are in the queue."""
    try:
        tasks = broker.execute(ListTasks(queue=queue, state=TaskState.PENDING, limit=10_000))
    except QueueNotFoundError:
        return Counter()
    return Counter(task.message.type for task in tasks)


async def test_a_task_is_enqueued_at_each_tick_and_not_early(broker: MemoryBroker, clock: FakeClock) -> None:
    stepped = SteppedTicker(broker, entry())
    assert await stepped.until_idle() == MAX_PAUSE
    clock.advance(5 * MINUTE - 1)
    assert await stepped.until_idle() == 0.001
    clock.advance(1)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}
    clock.advance(5 * MINUTE)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 2}


async def test_changing_schedulers_enqueue_each_tick_once(broker: MemoryBroker, clock: FakeClock) -> None:
    entries = [entry(), entry("@every 90s", "every")]
    benches = [SteppedTicker(broker, *entries) for _ in range(3)]
    for minute in range(60):
        for stepped in benches if minute % 2 else benches[::-1]:
            await stepped.until_idle()
        if minute % 7 == 0:
            benches[minute % 3] = SteppedTicker(broker, *entries)
            await benches[minute % 3].until_idle()
        clock.advance(MINUTE // 2)
        for stepped in benches:
            await stepped.until_idle()
        clock.advance(MINUTE // 2)
    for stepped in benches:
        await stepped.until_idle()
    assert enqueued(broker) == {"t": 12, "every": 40}


async def test_ticks_without_a_running_scheduler_are_missed(broker: MemoryBroker, clock: FakeClock) -> None:
    await SteppedTicker(broker, entry()).until_idle()
    clock.advance(HOUR)
    await SteppedTicker(broker, entry()).until_idle()
    assert enqueued(broker) == {}


async def test_missed_ticks_are_enqueued_within_the_catch_up_window(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    first = SteppedTicker(broker, entry(), catch_up=30 * MINUTE)
    await first.until_idle()
    clock.advance(5 * MINUTE)
    await first.until_idle()
    clock.advance(HOUR + MINUTE)
    heirs = [SteppedTicker(broker, entry(), catch_up=30 * MINUTE) for _ in range(2)]
    for _ in range(20):
        for heir in heirs:
            await heir.ticker.step()
    assert enqueued(broker) == {"t": 1 + 6}


async def test_a_new_entry_has_missed_no_tick(broker: MemoryBroker, clock: FakeClock) -> None:
    stepped = SteppedTicker(broker, entry(), catch_up=24 * HOUR)
    await stepped.until_idle()
    clock.advance(5 * MINUTE)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}


async def test_a_stalled_scheduler_enqueues_only_the_latest_tick(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    stepped = SteppedTicker(broker, entry())
    await stepped.until_idle()
    clock.advance(3 * HOUR)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}


async def test_a_lost_reply_neither_loses_nor_duplicates_a_tick(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    flaky = Flaky(broker)
    told: list[Any] = []
    stepped = SteppedTicker(flaky, entry(), after=lambda *outcome: told.append(outcome))
    await stepped.until_idle()
    clock.advance(5 * MINUTE)
    flaky.lost_replies = 2
    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await stepped.ticker.step()
    (delivery,) = broker.execute(Dequeue(orders=(("default",),), token="token", lease=1000))
    broker.execute(Done(delivery=delivery))
    await stepped.until_idle()
    assert enqueued(broker) == {}
    assert [(info.id, error) for _, info, error in told] == [(delivery.message.id, None)]


async def test_a_tick_is_retried_while_the_broker_is_full(broker: MemoryBroker, clock: FakeClock) -> None:
    flaky = Flaky(broker)
    stepped = SteppedTicker(flaky, entry(), entry("@hourly", "other"))
    await stepped.until_idle()
    clock.advance(5 * MINUTE)
    flaky.refusals = 1
    assert await stepped.ticker.step() == 1.0
    clock.advance(SECOND)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}


async def test_a_fast_local_clock_enqueues_no_tick_early(broker: MemoryBroker, clock: FakeClock) -> None:
    ahead = FakeClock(NOON + 5 * MINUTE - 1)
    flaky = Flaky(broker)
    flaky.clock = ahead  # type: ignore[attr-defined]
    stepped = SteppedTicker(flaky, entry(), entry("@every 1s", "often"))
    await stepped.ticker.step()
    ahead.advance(1)
    for second in range(60 * 5):
        await stepped.until_idle()
        assert enqueued(broker)["often"] == second
        for moved in (clock, ahead):
            moved.advance(SECOND)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1, "often": 300}


@pytest.mark.parametrize("off", [10 * MINUTE, -10 * MINUTE])
async def test_ticks_use_the_clock_of_the_broker(broker: MemoryBroker, clock: FakeClock, off: int) -> None:
    own = FakeClock(clock.now() + off)
    flaky = Flaky(broker)
    flaky.clock = own  # type: ignore[attr-defined]
    stepped = SteppedTicker(flaky, entry())
    await stepped.until_idle()
    for moved in (clock, own):
        moved.advance(5 * MINUTE - 2)
    await stepped.until_idle()
    assert enqueued(broker) == {}
    for moved in (clock, own):
        moved.advance(3)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}
    (seen,) = stepped.ticker.described()
    assert seen.prev_enqueue_at == datetime(2030, 1, 1, 12, 5, tzinfo=UTC)


@pytest.mark.parametrize("off", [10 * MINUTE, -10 * MINUTE])
async def test_a_tick_during_an_outage_is_enqueued_afterwards(
    broker: MemoryBroker, clock: FakeClock, off: int
) -> None:
    own = FakeClock(clock.now() + off)
    flaky = Flaky(broker)
    flaky.clock = own  # type: ignore[attr-defined]
    flaky.away = True
    stepped = SteppedTicker(flaky, entry())
    with pytest.raises(BrokerUnavailable):
        await stepped.ticker.step()
    for moved in (clock, own):
        moved.advance(6 * MINUTE)
    flaky.away = False
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}


async def test_hooks_run_before_and_after_an_enqueue(broker: MemoryBroker, clock: FakeClock) -> None:
    told: list[Any] = []

    async def before(task: Task) -> None:
        told.append(("before", task.type))

    def after(task: Task, info: Any, error: Any) -> None:
        told.append(("after", task.type, info and info.state, type(error)))
        raise RuntimeError("hooks break nothing")

    stepped = SteppedTicker(broker, entry(unique=timedelta(hours=1)), before=before, after=after)
    await stepped.until_idle()
    for _ in range(2):
        clock.advance(5 * MINUTE)
        await stepped.until_idle()
    assert told == [
        ("before", "t"),
        ("after", "t", TaskState.PENDING, type(None)),
        ("before", "t"),
        ("after", "t", None, DuplicateTaskError),
    ]


async def test_a_task_id_does_not_block_the_schedule(broker: MemoryBroker, clock: FakeClock) -> None:
    stepped = SteppedTicker(broker, entry(task_id="nightly", retention=timedelta(days=1)))
    await stepped.until_idle()
    settlements: list[Callable[[Delivery], Op[None]]] = [
        lambda delivery: Archive(delivery=delivery, error="failed"),
        lambda delivery: Complete(delivery=delivery),
    ]
    for number, settle in enumerate(settlements):
        clock.advance(5 * MINUTE)
        await stepped.until_idle()
        (delivery,) = broker.execute(Dequeue(orders=(("default",),), token=f"token-{number}", lease=1000))
        broker.execute(settle(delivery))
    clock.advance(5 * MINUTE)
    await stepped.until_idle()
    assert enqueued(broker) == {"t": 1}


async def test_previous_and_next_ticks_of_an_entry_are_listed(broker: MemoryBroker, clock: FakeClock) -> None:
    stepped = SteppedTicker(broker, entry(queue="low"))
    await stepped.until_idle()
    clock.advance(5 * MINUTE)
    await stepped.until_idle()
    (seen,) = stepped.ticker.described()
    assert (seen.spec, seen.task_type, seen.options) == ("*/5 * * * *", "t", ('Queue("low")',))
    assert seen.prev_enqueue_at == datetime(2030, 1, 1, 12, 5, tzinfo=UTC)
    assert seen.next_enqueue_at == datetime(2030, 1, 1, 12, 10, tzinfo=UTC)
    (event,) = broker.execute(ListEnqueueEvents(entry_id=seen.id))
    (task,) = broker.execute(ListTasks(queue="low", state=TaskState.PENDING))
    assert (event.task_id, event.enqueued_at) == (task.message.id, seen.prev_enqueue_at)


async def test_added_and_removed_entries_take_effect(broker: MemoryBroker, clock: FakeClock) -> None:
    stepped = SteppedTicker(broker, entry())
    await stepped.until_idle()
    stepped.registry.replace([entry(type="other")])
    clock.advance(4 * MINUTE)
    await stepped.until_idle()
    clock.advance(MINUTE)
    await stepped.until_idle()
    assert enqueued(broker) == {"other": 1}


async def test_a_tick_with_a_too_large_task_is_logged_once_and_does_not_block_others(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[tuple[str, object]] = []
    broker = MemoryBroker(clock=clock, max_value_bytes=10)
    large = Entry.of("@every 60s", Task("large", b"x" * 11), Options(), ZoneInfo("UTC"))
    stepped = SteppedTicker(
        broker, large, entry("@every 60s"), after=lambda task, info, error: told.append((task.type, error))
    )
    await stepped.until_idle()
    for _ in range(3):
        clock.advance(MINUTE)
        await stepped.until_idle()
    assert enqueued(broker) == {"t": 3}
    refused = [error for name, error in told if name == "large"]
    assert [type(error) for error in refused] == [PayloadTooLargeError] * 3
    assert caplog.text.count("is dropped: the payload of task") == 3
    broker.close()
