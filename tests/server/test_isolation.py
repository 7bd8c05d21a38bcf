"""One task, queue or entry that fails leaves all others at work."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar
from zoneinfo import ZoneInfo

import pytest
from attrs import evolve

from asynq import AsynqError, BrokerUnavailable, Task
from asynq.client.options import Options
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import (
    Dequeue,
    Enqueue,
    EnqueueTick,
    ExtendLease,
    Forward,
    GetTask,
    ListTasks,
    Op,
    Ping,
    Retry,
)
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.sync_async import AwaitedCalls, BlockingCalls, completed
from asynq.scheduler.entries import Entry, Registry
from asynq.scheduler.ticker import FAILED_ENTRY_DELAY, MAX_PAUSE, Ticker, TickHooks
from asynq.task_state import TaskState
from asynq.worker.leases.extender_thread import ExtenderThread
from asynq.worker.leases.held_leases import Holding
from asynq.worker.loops.forwarder import Forwarder
from asynq.worker.loops.recoverer import Recoverer
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.clock import FakeClock
    from asynq.handlers.context import Context
    from asynq_sqlite import MemoryBroker
    from tests.server.conftest import ServerLab

T = TypeVar("T")
LEASE = 30_000


class Poisoned:
    """A broker that raises an error of its own for all operations of a call when one of them is poison."""

    def __init__(self, broker: Any, is_poison: Callable[[Any], bool]) -> None:
        self.broker = broker
        self.is_poison = is_poison

    def __getattr__(self, name: str) -> Any:
        return getattr(self.broker, name)

    def _swallow(self, ops: Sequence[Op[Any]]) -> None:
        if any(map(self.is_poison, ops)):
            raise ValueError("a value nobody expected")

    async def aexecute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        self._swallow(ops)
        answers: list[T | AsynqError] = await self.broker.aexecute_many(ops)
        return answers

    def execute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        self._swallow(ops)
        answers: list[T | AsynqError] = self.broker.execute_many(ops)
        return answers


def enqueue(broker: MemoryBroker, task_id: str, queue: str = "q", **message: Any) -> None:
    at = message.pop("process_at", None)
    told = TaskMessage(**{"id": task_id, "type": "t", "queue": queue} | message)
    broker.execute(Enqueue(message=told, enqueue_id=task_id, process_at=at))


def take(broker: MemoryBroker, many: int, queue: str = "q", token: str = "token") -> tuple[Any, ...]:
    return broker.execute(Dequeue(orders=((queue,),) * many, token=token, lease=LEASE))


def state(broker: MemoryBroker, task_id: str, queue: str = "q") -> TaskState:
    return broker.execute(GetTask(queue=queue, task_id=task_id)).state


# --- operations -----------------------------------------------------------------------------------------


async def test_an_operation_that_breaks_the_broker_fails_individually(broker: MemoryBroker) -> None:
    poisoned = Poisoned(broker, lambda op: isinstance(op, Forward) and op.queue == "bad")
    ops: list[Op[Any]] = [Ping(), Forward(queue="bad"), Forward(queue="good")]
    for answers in (
        await execute_isolated(AwaitedCalls(poisoned), ops),
        completed(execute_isolated(BlockingCalls(poisoned), ops)),
    ):
        assert isinstance(answers[1], BrokerUnavailable)
        assert answers[1].maybe_applied
        assert "a value nobody expected" in answers[1].reason
        assert not any(isinstance(answer, AsynqError) for answer in (answers[0], answers[2]))


async def test_a_queue_that_breaks_the_broker_does_not_block_the_forwarding_of_others(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    for queue in ("bad", "good"):
        enqueue(broker, "1", queue, process_at=clock.now() + 1000)
    clock.advance(1000)
    poisoned: Any = Poisoned(broker, lambda op: op.queue == "bad")
    await Forwarder(
        poisoned, ("bad", "good"), on_forwarded=lambda _: None, poll=lambda: 5.0, time=BrokerTime(clock)
    ).step()
    assert state(broker, "1", "good") is TaskState.PENDING


# --- recovery -------------------------------------------------------------------------------------------


def recoverer(broker: Any, *queues: str, delay: Any = None) -> Recoverer:
    rules = RetryPolicy(rng=Random(1), delay=delay)
    return Recoverer(
        broker,
        queues or ("q",),
        rules,
        interval=lambda: 0.0,
        time=BrokerTime(broker.clock),
        rng=Random(1),
        on_recovered=lambda _: None,
        on_lost=lambda _: None,
    )


async def lose_twice(broker: MemoryBroker, clock: FakeClock, many: int) -> None:
    """Have the tasks lose a second worker, so that their retry delay is asked for."""
    for times in range(2):
        assert len(take(broker, many, token=f"token-{times}")) == many
        clock.advance(LEASE)
        if not times:
            await recoverer(broker).step()


@pytest.mark.parametrize("retried", [3049, 50_000, 2**31 - 10])
async def test_a_task_with_very_many_retries_is_recovered_like_any_other(
    broker: MemoryBroker, clock: FakeClock, retried: int
) -> None:
    enqueue(broker, "old", retried=retried, max_retry=2**31 - 1)
    enqueue(broker, "new")
    await lose_twice(broker, clock, 2)
    await recoverer(broker).step()
    assert (state(broker, "old"), state(broker, "new")) == (TaskState.RETRY, TaskState.RETRY)


async def test_a_failing_retry_delay_does_not_block_recovery(broker: MemoryBroker, clock: FakeClock) -> None:
    def delay(retried: int, error: Exception, task: Task) -> Any:
        answers = {"raises": None, "endless": float("inf"), "far": timedelta.max, "nan": float("nan")}
        if task.type == "raises":
            raise SystemExit(3)
        return answers.get(task.type, timedelta(seconds=1))

    for kind in ("raises", "endless", "far", "nan", "sane"):
        enqueue(broker, kind, type=kind)
    await lose_twice(broker, clock, 5)
    await recoverer(broker, delay=delay).step()
    assert [state(broker, kind) for kind in ("raises", "endless", "far", "nan", "sane")] == [
        TaskState.RETRY
    ] * 5


# --- settling -------------------------------------------------------------------------------------------


async def test_a_settlement_that_breaks_the_broker_does_not_block_others(memory: ServerLab) -> None:
    """Whatever shares a call with it is settled; it is itself sent again until the broker takes it."""
    broken = True
    memory.broker = Poisoned(
        memory.broker, lambda op: broken and isinstance(op, Retry) and op.delivery.message.type == "bad"
    )
    together = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        await together.wait()
        if task.type == "bad":
            raise ValueError("boom")

    async with memory.serving(handler):
        bad = await memory.enqueue("bad")
        good = [await memory.enqueue() for _ in range(20)]
        await memory.reaches(bad, TaskState.ACTIVE)
        together.set()
        for task_id in good:
            await memory.reaches(task_id, None)
        broken = False
        await memory.reaches(bad, TaskState.RETRY)


async def test_a_failure_that_cannot_be_inspected_is_settled(memory: ServerLab) -> None:
    from tests.unit.test_outcome import Careless

    async def handler(ctx: Context, task: Task) -> None:
        if task.type == "bad":
            raise Careless

    async with memory.serving(handler, concurrency=1):
        bad, good = await memory.enqueue("bad"), await memory.enqueue()
        stored = await memory.reaches(bad, TaskState.RETRY)
        assert "Careless" in stored.message.error
        await memory.reaches(good, None)


async def test_a_task_that_cannot_be_logged_is_settled(
    memory: ServerLab, log_failures: list[BaseException]
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        if "boom" in record.getMessage():
            raise RuntimeError("this filter is broken")
        return True

    async def handler(ctx: Context, task: Task) -> None:
        raise ValueError("boom")

    log = logging.getLogger("asynq.processor")
    log.addFilter(refuse)
    try:
        async with memory.serving(handler):
            await memory.reaches(await memory.enqueue(max_retry=0), TaskState.ARCHIVED)
            await memory.reaches(await memory.enqueue(max_retry=1), TaskState.RETRY)
    finally:
        log.removeFilter(refuse)
    assert {str(failure) for failure in log_failures} == {"this filter is broken"}
    log_failures.clear()


# --- leases ---------------------------------------------------------------------------------------------


def test_a_lease_that_breaks_the_broker_does_not_block_the_extension_of_others(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    for number in range(3):
        enqueue(broker, str(number))
    leases = [delivery.lease for delivery in take(broker, 3)]
    poisoned: Any = Poisoned(broker, lambda op: isinstance(op, ExtendLease) and op.lease.task_id == "1")
    passed = [0.0]
    held = [Holding(0.0, leases, [1000.0] * 3)]
    extender = ExtenderThread(poisoned, LEASE, lambda: held, lambda _: None, monotonic=lambda: passed[0])
    for _ in range(6):
        clock.advance(LEASE // 3)
        passed[0] += LEASE / 3000
        extender.tick()
    orphaned = {
        stored.message.id: stored.orphaned
        for stored in broker.execute(ListTasks(queue="q", state=TaskState.ACTIVE, limit=10))
    }
    assert orphaned == {"0": False, "1": True, "2": False}


# --- schedules ------------------------------------------------------------------------------------------


class Whim:
    """A schedule that fails while it is told to."""

    failing = True

    def next_after(self, instant: Any) -> Any:
        if self.failing:
            raise OverflowError("no such time")
        return instant.replace(microsecond=0) + timedelta(seconds=30)


def entry(type: str, spec: str = "* * * * *") -> Entry:  # noqa: A002
    return Entry.of(spec, Task(type), Options(), ZoneInfo("UTC"))


def ticker(broker: Any, *entries: Entry, **hooks: Any) -> Ticker:
    registry = Registry()
    registry.replace(entries)
    numbers = iter(range(10_000))
    return Ticker(
        broker, registry, catch_up=0, hooks=TickHooks(**hooks), new_id=lambda: f"id-{next(numbers)}"
    )


def enqueued(broker: MemoryBroker) -> list[str]:
    names = broker.execute(ListTasks(queue="default", state=TaskState.PENDING, limit=100))
    return [stored.message.type for stored in names]


async def test_an_entry_with_a_failing_schedule_does_not_block_others(
    broker: MemoryBroker, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    whim = Whim()
    bad = entry("bad")
    bad = evolve(bad, ticks=evolve(bad.ticks, schedule=whim))
    schedules = ticker(broker, bad, entry("good"))
    for _ in range(3):
        pause = await schedules.step()
        assert pause is not None
        assert pause <= MAX_PAUSE
        assert [seen.task_type for seen in schedules.described()] == ["good"]
        clock.advance(60_000)
    assert enqueued(broker) == ["good"] * 2
    told = [record for record in caplog.records if "failed, retrying" in record.getMessage()]
    assert len(told) == 1
    whim.failing = False
    clock.advance(FAILED_ENTRY_DELAY)
    await schedules.step()
    clock.advance(FAILED_ENTRY_DELAY)
    await schedules.step()
    assert "bad" in enqueued(broker)
    assert {seen.task_type for seen in schedules.described()} == {"bad", "good"}


async def test_a_tick_that_breaks_the_broker_does_not_block_others(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    poisoned = Poisoned(broker, lambda op: isinstance(op, EnqueueTick) and op.enqueue.message.type == "bad")
    schedules = ticker(poisoned, entry("bad"), entry("good"))
    await schedules.step()
    clock.advance(60_000)
    await schedules.step()
    assert enqueued(broker) == ["good"]


@pytest.mark.parametrize("raised", [SystemExit(1), asyncio.CancelledError(), RuntimeError("no")], ids=repr)
async def test_a_failing_hook_does_not_end_a_scheduler(
    broker: MemoryBroker, clock: FakeClock, raised: BaseException
) -> None:
    async def hook(*_: Any) -> None:
        raise raised

    schedules = ticker(broker, entry("a"), entry("b", "*/1 * * * *"), before=hook, after=hook)
    await schedules.step()
    clock.advance(60_000)
    await schedules.step()
    assert sorted(enqueued(broker)) == ["a", "b"]


# --- listening ------------------------------------------------------------------------------------------


async def test_a_listener_continues_after_a_failure_to_forward_an_event(memory: ServerLab) -> None:
    from asynq.protocol.broker import CancelRequested
    from asynq.worker.wakeups import Wakeups

    heard: list[str] = []

    def cancelled(request: CancelRequested) -> None:
        heard.append(request.task_id)
        raise RuntimeError("no")

    class Events:
        def __init__(self) -> None:
            self.left = [CancelRequested(str(number), "q", "archive") for number in range(3)]

        async def next(self) -> CancelRequested:
            if not self.left:
                await asyncio.Event().wait()
            return self.left.pop(0)

        async def aclose(self) -> None:
            pass

    wakeups = Wakeups(memory.broker, ["q"], on_wake=lambda _: None, on_cancel=cancelled, rng=Random(1))
    events: Any = Events()
    wakeups._listener = events
    running = asyncio.create_task(wakeups.run())
    await aeventually(lambda: heard == ["0", "1", "2"])
    wakeups.stop()
    await running
