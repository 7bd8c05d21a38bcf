"""Either face of a broker from the other."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from asynq.brokerkit.base import AwaitedBroker, CalledBroker
from asynq.brokerkit.changes import ChangeListener, ChangeWatcher
from asynq.errors import (
    AsynqError,
    BrokerFullError,
    BrokerRefusedError,
    BrokerUnavailable,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from asynq.protocol.broker import Capabilities
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, EnqueueTick, GetTask, Op, Ping

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPABILITIES = Capabilities(backend="half", durability="none", multi_process=False)


def answer(op: Op[Any]) -> Any:
    return TaskNotFoundError(op.queue, op.task_id) if isinstance(op, GetTask) else None


class Called(CalledBroker):
    """Has a plain face only."""

    batch = 3

    def __init__(self) -> None:
        super().__init__(CAPABILITIES)
        self.batches: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.broken_after = 99
        self.closed = 0

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        if len(self.batches) >= self.broken_after:
            raise BrokerUnavailable("gone")
        self.batches.append(len(ops))
        self.threads.add(threading.current_thread())
        return [answer(op) for op in ops]

    def close(self) -> None:
        self.closed += 1


class Awaited(AwaitedBroker):
    """Has an awaited face only."""

    def __init__(self) -> None:
        super().__init__(CAPABILITIES)
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.closed: list[asyncio.AbstractEventLoop] = []

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any | AsynqError]:
        self.loops.add(asyncio.get_running_loop())
        return [answer(op) for op in ops]

    async def aclose(self) -> None:
        self.closed.append(asyncio.get_running_loop())


MISSING = GetTask(queue="q", task_id="t")


@pytest.mark.parametrize("make", [Called, Awaited])
def test_both_faces_answer_and_raise_alike(make: type[Called | Awaited]) -> None:
    broker = make()
    many: list[Op[Any]] = [Ping(), MISSING]
    for answers in (broker.execute_many(many), asyncio.run(broker.aexecute_many(many))):
        assert [type(answer) for answer in answers] == [type(None), TaskNotFoundError]
    with pytest.raises(TaskNotFoundError):
        broker.execute(MISSING)
    with pytest.raises(TaskNotFoundError):
        asyncio.run(broker.aexecute(MISSING))
    assert broker.execute(Ping()) is None
    assert asyncio.run(broker.aexecute(Ping())) is None
    broker.close()


def test_what_is_called_is_awaited_in_threads_of_the_brokers_own() -> None:
    broker = Called()
    asyncio.run(broker.aexecute(Ping()))
    assert all(thread.name.startswith("asynq-broker") for thread in broker.threads)
    asyncio.run(broker.aclose())
    assert broker.closed == 1


def test_its_threads_end_when_it_is_closed() -> None:
    broker = Called()
    for _ in range(2):
        asyncio.run(broker.aexecute(Ping()))
        own = [thread for thread in broker.threads if thread.is_alive()]
        assert own
        asyncio.run(broker.aclose())
        for thread in own:
            thread.join(timeout=15)
            assert not thread.is_alive()


def test_many_operations_are_carried_out_a_batch_at_a_time() -> None:
    broker = Called()
    assert broker.execute_many([Ping()] * 7) == [None] * 7
    assert broker.batches == [3, 3, 1]


@pytest.mark.parametrize(("first_broken", "maybe"), [(0, False), (1, True)])
def test_what_earlier_batches_did_may_have_been_applied(first_broken: int, maybe: bool) -> None:
    broker = Called()
    broker.broken_after = first_broken
    with pytest.raises(BrokerUnavailable) as unavailable:
        broker.execute_many([Ping()] * 7)
    assert unavailable.value.maybe_applied is maybe


def test_what_is_awaited_is_called_on_one_loop_that_closes_what_it_used() -> None:
    broker = Awaited()
    broker.execute(Ping())
    broker.execute(Ping())
    assert len(broker.loops) == 1
    broker.close()
    assert broker.closed == list(broker.loops)
    broker.execute(Ping())
    assert len(broker.loops) == 2
    broker.close()


@pytest.mark.parametrize("make", [Called, Awaited])
def test_a_broker_nobody_holds_is_not_kept_alive_by_its_threads(make: type[Called | Awaited]) -> None:
    broker = make()
    broker.execute(Ping())
    asyncio.run(broker.aexecute(Ping()))
    gone = weakref.ref(broker)
    del broker
    gc.collect()
    assert gone() is None


# --- changes --------------------------------------------------------------------------------------------


class Counter:
    """A store's number of changes."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self) -> object:
        return self.value


async def test_an_armed_listener_wakes_at_once_and_then_for_changes() -> None:
    counter = Counter()
    listener = ChangeListener(counter)
    await listener.arm(["q"])
    await listener.next()
    waiting = asyncio.create_task(listener.next())
    counter.value += 1
    await asyncio.wait_for(waiting, 10)
    waiting = asyncio.create_task(listener.next())
    await listener.aclose()
    with pytest.raises(BrokerUnavailable):
        await waiting
    with pytest.raises(BrokerUnavailable):
        await listener.arm(["q"])


async def test_a_watcher_tells_all_who_wait_of_a_change() -> None:
    counter = Counter()
    watcher = ChangeWatcher(counter)
    for _ in range(2):
        changes = [await watcher.watch("q", "a"), await watcher.watch("q", "b")]
        counter.value += 1
        await asyncio.wait_for(asyncio.gather(*changes), 10)
    left, stays = await watcher.watch("q", "a"), await watcher.watch("q", "b")
    left.cancel()
    assert not stays.done()
    await watcher.aclose()
    assert stays.done()


# --- answers --------------------------------------------------------------------------------------------


class Cramped(CalledBroker):
    """Has no room for more than two operations at once, and none for a task with a payload."""

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        if len(ops) > 2 or any(isinstance(op, Enqueue) and op.message.payload for op in ops):
            raise BrokerFullError("no room")
        return [self.answer(op, lambda: "carried out") for op in ops]


def enqueue(**message: Any) -> Enqueue:
    return Enqueue(message=TaskMessage(id="t", type="t", queue="q", **message), enqueue_id="e")


def test_what_a_full_transaction_had_no_room_for_is_tried_one_by_one() -> None:
    answers = Cramped(CAPABILITIES).execute_many([Ping(), enqueue(payload=b"much"), Ping()])
    assert [type(answer) for answer in answers] == [str, BrokerFullError, str]


class Unheard(Op[None]):
    """An operation of a later version, or of somebody's own."""


@pytest.mark.parametrize(
    ("op", "named"),
    [
        (Unheard(), "Unheard"),
        (Ping(), "Ping"),
        (enqueue(group="g"), "groups"),
        (EnqueueTick(enqueue=enqueue(group="g"), entry_id="e", tick=0, keep=0), "groups"),
    ],
)
def test_what_the_capabilities_leave_out_is_refused_by_name(op: Op[Any], named: str) -> None:
    declared = evolve(CAPABILITIES, groups=False, unsupported=frozenset({Ping}))
    [answer] = Cramped(declared).execute_many([op])
    assert isinstance(answer, UnsupportedOperationError)
    assert (answer.operation, answer.backend) == (named, "half")


@pytest.mark.parametrize(
    "error", [OverflowError("too large"), UnicodeEncodeError("utf-8", "\udc80", 0, 1, "no")]
)
def test_a_value_that_cannot_be_stored_is_refused(error: Exception) -> None:
    def fail() -> int:
        raise error

    answer = Cramped(CAPABILITIES).answer(Ping(), fail)
    assert isinstance(answer, BrokerRefusedError)
    assert "Ping holds what cannot be stored" in str(answer)
