"""Brokers built on the kit: transactions of calls, sync and async callers, refusals."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.brokerkit.base import AwaitedBroker, CalledBroker
from asynq.errors import (
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
    """A broker with blocking methods only."""

    max_batch = 3

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

    def close_store(self) -> None:
        self.closed += 1


class Awaited(AwaitedBroker):
    """A broker with async methods only."""

    def __init__(self) -> None:
        super().__init__(CAPABILITIES)
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.closed: list[asyncio.AbstractEventLoop] = []

    async def atransact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        self.loops.add(asyncio.get_running_loop())
        return [answer(op) for op in ops]

    async def aclose_store(self) -> None:
        self.closed.append(asyncio.get_running_loop())


MISSING = GetTask(queue="q", task_id="t")


@pytest.mark.parametrize("make", [Called, Awaited])
def test_both_interfaces_return_and_raise_the_same(make: type[Called | Awaited]) -> None:
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


def test_async_calls_of_a_blocking_broker_run_in_its_own_threads() -> None:
    broker = Called()
    asyncio.run(broker.aexecute(Ping()))
    assert all(thread.name.startswith("asynq-broker") for thread in broker.threads)
    asyncio.run(broker.aclose())
    assert broker.closed == 1


def test_closing_a_blocking_broker_ends_its_threads() -> None:
    broker = Called()
    for _ in range(2):
        asyncio.run(broker.aexecute(Ping()))
        own = [thread for thread in broker.threads if thread.is_alive()]
        assert own
        asyncio.run(broker.aclose())
        for thread in own:
            thread.join(timeout=15)
            assert not thread.is_alive()


def test_many_operations_are_executed_in_batches() -> None:
    broker = Called()
    assert broker.execute_many([Ping()] * 7) == [None] * 7
    assert broker.batches == [3, 3, 1]


@pytest.mark.parametrize(("first_broken", "maybe"), [(0, False), (1, True)])
def test_an_outage_after_a_committed_batch_marks_operations_as_maybe_applied(
    first_broken: int, maybe: bool
) -> None:
    broker = Called()
    broker.broken_after = first_broken
    with pytest.raises(BrokerUnavailable) as unavailable:
        broker.execute_many([Ping()] * 7)
    assert unavailable.value.maybe_applied is maybe


def test_blocking_calls_of_an_async_broker_share_a_loop_that_is_closed_with_it() -> None:
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
def test_threads_do_not_keep_an_unreferenced_broker_alive(make: type[Called | Awaited]) -> None:
    broker = make()
    broker.execute(Ping())
    asyncio.run(broker.aexecute(Ping()))
    gone = weakref.ref(broker)
    del broker
    gc.collect()
    assert gone() is None


# --- answers --------------------------------------------------------------------------------------------


def has_no_space(ops: Sequence[Op[Any]]) -> bool:
    """Raise if there are several operations, or a task with a payload: the store has no space for them."""
    return len(ops) > 2 or any(isinstance(op, Enqueue) and op.message.payload for op in ops)


class Cramped(CalledBroker):
    """A broker with little space."""

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        if has_no_space(ops):
            raise BrokerFullError("no room")
        return [self.answer(op, lambda: "carried out") for op in ops]


class AwaitedCramped(AwaitedBroker):
    """A broker with little space and an async driver."""

    async def atransact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        if has_no_space(ops):
            raise BrokerFullError("no room")
        return [await self.answer(op, self.carried_out) for op in ops]

    async def carried_out(self) -> Any:
        return "carried out"


def enqueue(**message: Any) -> Enqueue:
    return Enqueue(message=TaskMessage(id="t", type="t", queue="q", **message), enqueue_id="e")


@pytest.mark.parametrize("make", [Cramped, AwaitedCramped])
def test_operations_of_a_full_transaction_are_tried_one_by_one(make: type[Cramped | AwaitedCramped]) -> None:
    answers = make(CAPABILITIES).execute_many([Ping(), enqueue(payload=b"much"), Ping()])
    assert [type(answer) for answer in answers] == [str, BrokerFullError, str]


class Unheard(Op[None], frozen=True):
    """An operation of a later version or of another package."""


@pytest.mark.parametrize(
    ("op", "named"),
    [
        (Unheard(), "Unheard"),
        (Ping(), "Ping"),
        (enqueue(group="g"), "groups"),
        (EnqueueTick(enqueue=enqueue(group="g"), entry_id="e", tick=0, keep=0), "groups"),
    ],
)
@pytest.mark.parametrize("make", [Cramped, AwaitedCramped])
def test_an_unsupported_operation_is_refused_by_name(
    op: Op[Any], named: str, make: type[Cramped | AwaitedCramped]
) -> None:
    declared = replace(CAPABILITIES, groups=False, unsupported=frozenset({Ping}))
    [answer] = make(declared).execute_many([op])
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
    assert "Ping holds a value that cannot be stored" in str(answer)


class FullThenGone(CalledBroker):
    """A broker without space for two operations, which becomes unavailable after the first of them."""

    calls = 0

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        self.calls += 1
        if self.calls == 1:
            raise BrokerFullError("no room")
        if self.calls == 2:
            return [None]
        raise BrokerUnavailable("gone")


def test_an_outage_while_operations_are_tried_one_by_one_leaves_their_outcome_open() -> None:
    with pytest.raises(BrokerUnavailable) as unavailable:
        FullThenGone(CAPABILITIES).execute_many([Ping(), Ping()])
    assert unavailable.value.maybe_applied
