"""Idle workers are woken for new tasks, whichever process enqueued them."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from asynq.errors import BrokerUnavailable
from asynq.protocol import ops
from asynq.protocol.broker import CancelRequested, Listener, Wake
from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.sqlite.tools import LEASE, enqueue, take

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EVENT_TIMEOUT = 10.0


@asynccontextmanager
async def armed(broker: SQLiteBroker | MemoryBroker, *queues: str) -> AsyncIterator[Listener]:
    """An armed listener that has reported its first event."""
    listener = broker.listener()
    await listener.arm(queues)
    assert await event(listener) == Wake()
    yield listener
    await listener.aclose()


async def event(listener: Listener) -> object:
    return await asyncio.wait_for(listener.next(), EVENT_TIMEOUT)


async def is_silent(listener: Listener) -> bool:
    """Return whether no event arrives during several polls of the file."""
    try:
        await asyncio.wait_for(listener.next(), 0.08)
    except TimeoutError:
        return True
    return False


@pytest.fixture
def foreign(path: Path, broker: SQLiteBroker) -> SQLiteBroker:
    """Another broker on the same file. To `broker`, it looks like another process."""
    return SQLiteBroker(path, clock=broker.clock, durability="process")


async def test_an_enqueue_elsewhere_wakes_within_50_ms(broker: SQLiteBroker, foreign: SQLiteBroker) -> None:
    waits = []
    async with armed(broker, "q") as listener:
        for number in range(15):
            foreign.execute(enqueue(f"t{number}"))
            start = time.monotonic()
            assert await event(listener) == Wake("q")
            waits.append(time.monotonic() - start)
            take(broker, f"token{number}")
            await is_silent(listener)
    assert statistics.median(waits) < 0.05


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_an_enqueue_of_this_process_wakes_up(kind: str, broker: SQLiteBroker) -> None:
    here = broker if kind == "file" else MemoryBroker()
    async with armed(here, "q") as listener:
        await here.aexecute(enqueue("t"))
        assert await event(listener) == Wake("q")
    await here.aclose()


async def test_a_batch_wakes_each_queue_once() -> None:
    broker = MemoryBroker()
    async with armed(broker, "q", "r") as listener:
        await broker.aexecute_many([enqueue(f"t{n}", queue="qr"[n % 2]) for n in range(20)])
        assert {await event(listener), await event(listener)} == {Wake("q"), Wake("r")}
        assert await is_silent(listener)
    await broker.aclose()


async def test_a_task_scheduled_by_another_process_wakes_up(
    broker: SQLiteBroker, foreign: SQLiteBroker
) -> None:
    async with armed(broker, "q") as listener:
        foreign.execute(enqueue("t", process_in=LEASE))
        assert await event(listener) == Wake("q")


async def test_a_queue_resumed_by_another_process_wakes_up(
    broker: SQLiteBroker, foreign: SQLiteBroker
) -> None:
    foreign.execute_many([enqueue("t"), ops.PauseQueue(queue="q")])
    async with armed(broker, "q") as listener:
        assert await is_silent(listener)
        foreign.execute(ops.UnpauseQueue(queue="q"))
        assert await event(listener) == Wake("q")


async def test_changes_without_new_work_cause_no_wake_up(broker: SQLiteBroker, foreign: SQLiteBroker) -> None:
    foreign.execute(enqueue("t"))
    delivery = take(foreign)[0]
    async with armed(broker, "q") as listener:
        foreign.execute(ops.ExtendLease(lease=delivery.lease, duration=2 * LEASE))
        foreign.execute(enqueue("elsewhere", queue="other"))
        foreign.execute(ops.Done(delivery=delivery))
        assert await is_silent(listener)


async def test_a_disarmed_listener_reports_nothing(broker: SQLiteBroker, foreign: SQLiteBroker) -> None:
    async with armed(broker, "q") as listener:
        await listener.disarm()
        foreign.execute(enqueue("t"))
        broker.execute(enqueue("u"))
        assert await is_silent(listener)
        await listener.arm(["q"])
        assert await event(listener) == Wake()


async def test_waiting_ends_when_the_listener_is_closed(broker: SQLiteBroker) -> None:
    listener = broker.listener()
    waiting = asyncio.create_task(listener.next())
    await asyncio.sleep(0)
    await listener.aclose()
    with pytest.raises(BrokerUnavailable):
        await waiting


async def test_waiting_may_be_cancelled_without_loss(broker: SQLiteBroker) -> None:
    async with armed(broker, "q") as listener:
        waiting = asyncio.create_task(listener.next())
        await asyncio.sleep(0)
        waiting.cancel()
        await broker.aexecute(enqueue("t"))
        assert await event(listener) == Wake("q")


async def test_a_cancellation_elsewhere_is_reported_within_50_ms(
    broker: SQLiteBroker, foreign: SQLiteBroker
) -> None:
    waits = []
    listener = broker.listener()
    for number in range(10):
        broker.execute(enqueue(f"t{number}"))
        take(broker, f"token{number}")
        waiting = asyncio.create_task(event(listener))
        await asyncio.sleep(0)
        start = time.monotonic()
        foreign.execute(ops.CancelTask(task_id=f"t{number}", queue=None, then="retry"))
        assert await waiting == CancelRequested(f"t{number}", "q", "retry")
        waits.append(time.monotonic() - start)
    await listener.aclose()
    assert statistics.median(waits) < 0.05


async def test_a_cancellation_is_reported_once(broker: SQLiteBroker, foreign: SQLiteBroker) -> None:
    broker.execute_many([enqueue("t"), enqueue("u")])
    take(broker, wanted=2)
    async with armed(broker, "q") as listener:
        for _ in range(3):
            foreign.execute(ops.CancelTask(task_id="t"))
        assert await event(listener) == CancelRequested("t", "q", "archive")
        broker.execute(ops.CancelTask(task_id="u"))
        assert await event(listener) == CancelRequested("u", "q", "archive")
        assert await is_silent(listener)


async def test_one_thread_polls_the_file_for_all(broker: SQLiteBroker) -> None:
    before = set(threading.enumerate())

    def polling() -> int:
        return sum("poller" in thread.name for thread in set(threading.enumerate()) - before)

    listeners = [broker.listener() for _ in range(5)]
    for listener in listeners:
        await listener.arm(["q"])
        await event(listener)
    watcher = broker.watcher()
    change = await watcher.watch("q", "t")
    assert polling() == 1
    broker.execute(enqueue("t"))
    await asyncio.wait_for(change, EVENT_TIMEOUT)
    for listener in listeners:
        await listener.aclose()
    await watcher.aclose()
    broker.close()
    assert polling() == 0


async def test_many_queues_are_woken_by_one_event(broker: SQLiteBroker, foreign: SQLiteBroker) -> None:
    queues = [f"q{number}" for number in range(1000)]
    async with armed(broker, *queues) as listener:
        foreign.execute_many([enqueue("t", queue=queue) for queue in queues])
        assert await event(listener) == Wake()
        events = 1
        while not await is_silent(listener):
            events += 1
        assert events < 10
