"""Group commit: calls of threads and event loops that wait together share a transaction."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq.brokerkit.base import CalledBroker
from asynq.brokerkit.group_commit import is_abandoned
from asynq.errors import BrokerUnavailable, TaskNotFoundError
from asynq.protocol.broker import Capabilities
from asynq.protocol.ops import GetTask, Op, Ping
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CAPABILITIES = Capabilities(backend="half", durability="none", multi_process=False)


def answer(op: Op[Any]) -> Any:
    return TaskNotFoundError(op.queue, op.task_id) if isinstance(op, GetTask) else None


class Counting(CalledBroker):
    """A broker that records the threads of its transactions."""

    def __init__(self) -> None:
        super().__init__(CAPABILITIES)
        self.threads: set[threading.Thread] = set()

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        self.threads.add(threading.current_thread())
        return [answer(op) for op in ops]


class Held(CalledBroker):
    """A broker whose first transaction waits until it is released."""

    def __init__(self) -> None:
        super().__init__(CAPABILITIES)
        self.entered, self.may_go_on = threading.Event(), threading.Event()
        self.transactions: list[list[str]] = []
        self.abandoned: list[bool] = []
        self.error: BaseException | None = None

    def transact(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        self.transactions.append([op.task_id for op in ops if isinstance(op, GetTask)])
        if len(self.transactions) == 1:
            self.entered.set()
            assert self.may_go_on.wait(20)
        self.abandoned.append(is_abandoned())
        if self.error is not None:
            raise self.error
        return [answer(op) for op in ops]

    async def call(self, task_id: str) -> str:
        with suppress(TaskNotFoundError):
            await self.aexecute(GetTask(queue="q", task_id=task_id))
        return task_id

    def call_blocking(self, task_id: str) -> None:
        with suppress(TaskNotFoundError):
            self.execute(GetTask(queue="q", task_id=task_id))

    def until_waiting(self, number: int) -> None:
        """Return once so many calls wait for the transaction under way."""
        commits = self._commits.current()
        assert commits is not None
        eventually(lambda: len(commits._waiting) == number)

    async def begin(self) -> asyncio.Task[str]:
        """Start a call. Returns when its transaction has begun."""
        first = asyncio.create_task(self.call("first"))
        assert await asyncio.to_thread(self.entered.wait, 20)
        return first


async def test_calls_that_wait_together_share_a_transaction_and_keep_their_order() -> None:
    broker = Held()
    first = await broker.begin()
    others = [asyncio.create_task(broker.call(name)) for name in "abc"]
    await asyncio.sleep(0)
    broker.may_go_on.set()
    assert await asyncio.gather(first, *others) == ["first", "a", "b", "c"]
    assert broker.transactions == [["first"], ["a", "b", "c"]]
    await broker.aclose()


async def test_a_cancelled_call_is_skipped_and_does_not_affect_others() -> None:
    broker = Held()
    first = await broker.begin()
    others = [asyncio.create_task(broker.call(name)) for name in "abc"]
    await asyncio.sleep(0)
    others[1].cancel()
    await asyncio.sleep(0)
    broker.may_go_on.set()
    assert [await call for call in (first, others[0], others[2])] == ["first", "a", "c"]
    assert broker.transactions == [["first"], ["a", "c"]]
    await broker.aclose()


async def test_a_transaction_is_abandoned_when_all_its_callers_are_cancelled() -> None:
    broker = Held()
    first = await broker.begin()
    first.cancel()
    await asyncio.sleep(0)
    broker.may_go_on.set()
    await broker.call("second")
    broker.execute_many([Ping()])
    assert broker.abandoned == [True, False, False]
    await broker.aclose()


async def test_an_error_of_a_transaction_is_raised_in_every_caller() -> None:
    broker = Held()
    first = await broker.begin()
    others = [asyncio.create_task(broker.call(name)) for name in "ab"]
    await asyncio.sleep(0)
    broker.error = BrokerUnavailable("gone", maybe_applied=True)
    broker.may_go_on.set()
    errors = await asyncio.gather(first, *others, return_exceptions=True)
    unavailable = [error for error in errors if isinstance(error, BrokerUnavailable)]
    assert [(str(error), error.maybe_applied) for error in unavailable] == [(str(broker.error), True)] * 3
    assert len({id(error) for error in errors}) == 3
    await broker.aclose()


def test_callers_on_several_event_loops_share_the_thread() -> None:
    broker = Counting()

    def work() -> None:
        assert asyncio.run(broker.aexecute(Ping())) is None

    callers = [threading.Thread(target=work) for _ in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(broker.threads) == 1
    asyncio.run(broker.aclose())


def test_a_forked_child_starts_its_own_thread() -> None:
    broker = Counting()
    asyncio.run(broker.aexecute(Ping()))
    child = os.fork()
    if child == 0:
        os._exit(0 if asyncio.run(broker.aexecute(Ping())) is None else 1)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(broker.aclose())


# --- threads that call --------------------------------------------------------------------------------------


def started(*targets: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=target) for target in targets]
    for thread in threads:
        thread.start()
    return threads


def test_a_blocking_call_that_finds_nothing_under_way_runs_on_its_own_thread() -> None:
    broker = Counting()
    broker.execute(Ping())
    assert broker.threads == {threading.current_thread()}


def test_blocking_calls_that_wait_together_share_a_transaction() -> None:
    broker = Held()
    threads = started(lambda: broker.call_blocking("first"))
    assert broker.entered.wait(20)
    for number, name in enumerate("abc", 1):
        threads += started(partial(broker.call_blocking, name))
        broker.until_waiting(number)
    broker.may_go_on.set()
    for thread in threads:
        thread.join()
    assert broker.transactions == [["first"], ["a", "b", "c"]]
    broker.close()


async def test_blocking_and_awaited_calls_share_a_transaction() -> None:
    broker = Held()
    first = await broker.begin()
    [blocking] = started(lambda: broker.call_blocking("blocking"))
    await asyncio.to_thread(broker.until_waiting, 1)
    awaited = asyncio.create_task(broker.call("awaited"))
    await asyncio.sleep(0)
    broker.may_go_on.set()
    assert [await first, await awaited] == ["first", "awaited"]
    await asyncio.to_thread(blocking.join)
    assert broker.transactions == [["first"], ["blocking", "awaited"]]
    await broker.aclose()


def test_a_large_call_lets_others_in_between_its_transactions() -> None:
    class Small(Held):
        max_batch = 2

    broker = Small()
    many = [GetTask(queue="q", task_id=name) for name in "abcd"]
    threads = started(lambda: broker.execute_many(many))
    assert broker.entered.wait(20)
    threads += started(lambda: broker.call_blocking("other"))
    broker.until_waiting(1)
    broker.may_go_on.set()
    for thread in threads:
        thread.join()
    assert broker.transactions == [["a", "b"], ["other"], ["c", "d"]]
    broker.close()


class Interruption(BaseException):
    """Raised by a signal handler."""


def test_an_interrupted_wait_is_not_carried_out_later() -> None:
    broker = Held()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt(*_: object) -> None:
        raise Interruption

    def send_signal() -> None:
        broker.until_waiting(1)
        signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        threads = started(lambda: broker.call_blocking("first"))
        assert broker.entered.wait(20)
        threads += started(send_signal)
        with pytest.raises(Interruption):
            broker.call_blocking("interrupted")
    finally:
        signal.signal(signal.SIGUSR1, before)
    broker.may_go_on.set()
    for thread in threads:
        thread.join()
    broker.call_blocking("last")
    assert broker.transactions == [["first"], ["last"]]
    broker.close()


def test_an_interrupted_transaction_leaves_the_outcome_of_its_other_callers_open() -> None:
    broker = Held()
    errors: list[BaseException] = []

    def call(task_id: str) -> None:
        try:
            broker.call_blocking(task_id)
        except BaseException as error:  # noqa: BLE001 - collected
            errors.append(error)

    threads = started(lambda: call("first"))
    assert broker.entered.wait(20)
    for number, name in enumerate("ab", 1):
        threads += started(partial(call, name))
        broker.until_waiting(number)
    broker.error = Interruption()
    broker.may_go_on.set()
    for thread in threads:
        thread.join()
    assert broker.transactions == [["first"], ["a", "b"]]
    [told] = [error for error in errors if isinstance(error, BrokerUnavailable)]
    assert told.maybe_applied
    assert len(errors) == 3
    broker.close()
