"""Events of listeners and watchers of brokers built on the kit."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.brokerkit.base import CalledBroker
from asynq.brokerkit.events.poller import POLL_INTERVAL, ChangePoller, ChangeSource
from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import CancelRequested, Capabilities, Listener, Wake
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import CancelTask, Enqueue, Op, Ping
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq.protocol.broker import Event

CAPABILITIES = Capabilities(backend="counted", durability="none", multi_process=False)
POLLED = replace(CAPABILITIES, wakeup="poll")


class Counted(CalledBroker):
    """A source whose counter of changes tests can increase."""

    value = 0

    def changes(self) -> object:
        return self.value

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        return [self.answer(op, lambda: True) for op in ops]


def enqueue(queue: str = "q") -> Enqueue:
    return Enqueue(message=TaskMessage(id="t", type="t", queue=queue), enqueue_id="e")


async def event(listener: Listener) -> object:
    return await asyncio.wait_for(listener.next(), 10)


async def armed(broker: Counted) -> Listener:
    """A listener of queue q that has received its first event."""
    listener = broker.listener()
    await listener.arm(["q"])
    assert await event(listener) == Wake()
    return listener


async def test_an_armed_listener_is_woken_by_changes_of_other_processes() -> None:
    broker = Counted(CAPABILITIES)
    listener = await armed(broker)
    broker.value += 1
    assert await event(listener) == Wake()
    waiting = asyncio.create_task(listener.next())
    await listener.aclose()
    with pytest.raises(BrokerUnavailable):
        await waiting
    with pytest.raises(BrokerUnavailable):
        await listener.arm(["q"])
    broker.close()


@pytest.mark.parametrize("capabilities", [CAPABILITIES, POLLED], ids=["push", "poll"])
async def test_an_operation_of_this_process_wakes_its_queue(capabilities: Capabilities) -> None:
    broker = Counted(capabilities)
    listener = await armed(broker)
    await broker.aexecute_many([Ping(), enqueue("other"), enqueue()])
    assert await event(listener) == Wake("q")
    await broker.aexecute(CancelTask(task_id="t", queue="q", then="retry"))
    assert await event(listener) == CancelRequested("t", "q", "retry")
    await listener.aclose()
    await broker.aclose()


async def test_a_watcher_reports_a_change_to_all_waiting_callers() -> None:
    broker = Counted(CAPABILITIES)
    watcher = broker.watcher()
    for _ in range(2):
        changes = [await watcher.watch("q", "a"), await watcher.watch("q", "b")]
        broker.value += 1
        await asyncio.wait_for(asyncio.gather(*changes), 10)
    left, stays = await watcher.watch("q", "a"), await watcher.watch("q", "b")
    left.cancel()
    assert not stays.done()
    await watcher.aclose()
    assert stays.done()
    broker.close()


async def test_a_watcher_without_a_source_reports_changes_of_this_process() -> None:
    broker = Counted(POLLED)
    watcher = broker.watcher()
    change = await watcher.watch("q", "t")
    await broker.aexecute(Ping())
    assert not change.done()
    await broker.aexecute(enqueue())
    await asyncio.wait_for(change, 10)
    await watcher.aclose()


async def test_closing_a_broker_ends_its_polling_until_a_listener_is_armed_again() -> None:
    before = set(threading.enumerate())
    broker = Counted(CAPABILITIES)
    listener = await armed(broker)
    assert len(set(threading.enumerate()) - before) == 1
    broker.close()
    assert set(threading.enumerate()) <= before
    await listener.arm(["q"])
    assert await event(listener) == Wake()
    await broker.aexecute(enqueue())
    assert await event(listener) == Wake("q")
    await broker.aclose()


# --- the poller -----------------------------------------------------------------------------------------


class Unreadable(ChangeSource):
    """A source that cannot be read for a while after a change."""

    def __init__(self) -> None:
        self.value = self.asked = 0

    def version(self) -> object:
        return self.value

    def events(self, *, wakes: bool) -> Sequence[Event] | None:
        self.asked += 1
        return None if self.asked % 3 else [Wake("q")]


class Recorder:
    """Records the events it receives."""

    armed = True

    def __init__(self, *, urgent: bool = True) -> None:
        self.urgent = urgent
        self.events: list[Event] = []
        self.changes = 0
        self.told = threading.Event()

    def on_events(self, events: Iterable[Event]) -> None:
        self.events += events

    def on_change(self) -> None:
        self.changes += 1
        self.told.set()


def test_reading_events_is_retried_after_an_error() -> None:
    source, recorder = Unreadable(), Recorder()
    poller = ChangePoller(source)
    poller.subscribe(recorder)
    source.value += 1
    assert recorder.told.wait(20)
    poller.close()
    assert (recorder.events, recorder.changes, source.asked) == ([Wake("q")], 1, 3)


class Gated(ChangeSource):
    """A source whose polls wait at a gate."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.polled = threading.Event()

    def version(self) -> object:
        self.polled.set()
        self.gate.wait(20)
        return 0


def test_closing_does_not_wait_for_those_who_subscribe_meanwhile() -> None:
    source, early, late = Gated(), Recorder(), Recorder()
    poller = ChangePoller(source)
    poller.subscribe(early)
    source.gate.clear()
    source.polled.clear()
    assert source.polled.wait(20)
    closing = threading.Thread(target=poller.close)
    closing.start()
    eventually(lambda: not poller._subscribers)
    poller.subscribe(late)
    source.gate.set()
    closing.join(20)
    assert not closing.is_alive()
    poller.close()


class Restless(ChangeSource):
    """Changes with every poll."""

    def __init__(self) -> None:
        self.polled: list[float] = []
        self.enough = threading.Event()

    def version(self) -> object:
        self.polled.append(time.monotonic())
        if len(self.polled) == 4:
            self.enough.set()
        return len(self.polled)


def test_polls_are_rare_while_nobody_waits_for_what_they_find() -> None:
    source, busy = Restless(), Recorder(urgent=False)
    poller = ChangePoller(source)
    poller.subscribe(busy)
    assert source.enough.wait(20)
    poller.close()
    polls = source.polled[1:4]
    assert min(later - earlier for earlier, later in pairwise(polls)) > 2 * POLL_INTERVAL
