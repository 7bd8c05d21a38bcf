"""Help for tests of programs that use this library: run what is enqueued, look at it, move the clock.

All of it works on any broker; a `MemoryBroker` with a `FakeClock` needs nothing else and waits for nothing.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen

from asynq.client.payload import encode_payload
from asynq.client.task import Task
from asynq.clock import FakeClock
from asynq.errors import RevokeTask
from asynq.handlers.adapters import adapt_handler
from asynq.handlers.executors import Executors
from asynq.handlers.hooks import error_of
from asynq.handlers.outcome import Succeeded, decide, wraps
from asynq.handlers.retry import RetryPolicy
from asynq.handlers.runner import Run
from asynq.inspector.inspector import Inspector
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.connect import resolve
from asynq.protocol.ops import Dequeue, Forward, ListQueues
from asynq.runtime.loop_thread import Portal
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asynq.handlers.adapters import Handler, HandlerAdapter
    from asynq.handlers.outcome import Outcome
    from asynq.handlers.retry import RetryDelay
    from asynq.info import TaskInfo
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

__all__ = ["FakeClock", "TaskRun", "arun_until_idle", "assert_enqueued", "enqueued", "run_until_idle"]

TEST_LEASE = 24 * 3600 * 1000
"""Milliseconds: nobody else shall take what a test runs."""
_ANY = object()


@frozen(kw_only=True)
class TaskRun:
    """One run of a task, as it went."""

    task: Task
    task_id: str
    queue: str
    retried: int
    """Retries spent before this run."""
    result: bytes | None = None
    error: Exception | None = None


async def arun_until_idle(
    broker: Broker | str,
    handler: Handler,
    *,
    queues: Sequence[str] | None = None,
    raise_errors: bool = True,
    retry_delay: RetryDelay | None = None,
    most: int = 1000,
) -> list[TaskRun]:
    """Run what is due, one task after the other, and what these enqueue, until nothing is; the runs in order.

    `handler` is a ServeMux or any handler, called as a server calls it: with its middlewares, timeouts and
    retries. A task that failed runs again when its delay is over, so move the clock and call again. Paused
    queues rest, and groups are not aggregated.

    queues: those to take from, in order of preference; by default all there are. raise_errors: raise what a
    handler raises, a RevokeTask excepted, once its task is settled; False notes it in the run.
    retry_delay: as a server's. most: runs after which RuntimeError tells that the tasks feed themselves.
    """
    broker, owned = resolve(broker)
    bench = _TaskRunner(broker, adapt_handler(handler), retry_delay)
    runs: list[TaskRun] = []
    try:
        while (delivery := await bench.next_due(queues)) is not None:
            if len(runs) == most:
                raise RuntimeError(f"there is still something to do after {most} runs")
            outcome = await bench.run(delivery)
            runs.append(_noted(delivery, outcome))
            error = runs[-1].error
            if raise_errors and error is not None and not wraps(error, RevokeTask):
                try:
                    raise error
                finally:
                    # This frame is part of the traceback: it must not keep the error, and its locals, alive.
                    del error, outcome, runs
    finally:
        bench.executors.close()
        if owned:
            await broker.aclose()
    return runs


def run_until_idle(
    broker: Broker | str,
    handler: Handler,
    *,
    queues: Sequence[str] | None = None,
    raise_errors: bool = True,
    retry_delay: RetryDelay | None = None,
    most: int = 1000,
) -> list[TaskRun]:
    """`arun_until_idle` for tests that cannot await; async handlers run on an event loop of their own."""
    broker, owned = resolve(broker)
    portal = Portal(broker.aclose)
    try:
        return portal.run(
            lambda: arun_until_idle(
                broker, handler, queues=queues, raise_errors=raise_errors, retry_delay=retry_delay, most=most
            )
        )
    finally:
        portal.close()
        if owned:
            broker.close()


def enqueued(
    broker: Broker | str,
    type: str | None = None,  # noqa: A002 - as Task's
    *,
    queue: str | None = None,
) -> list[TaskInfo]:
    """The tasks that wait to be run, of all types and queues or of one; within a queue the next to run first.

    Pending ones come before those that are scheduled, to be retried, or waiting in groups.
    """
    with Inspector(broker) as inspector:
        queues = [name for name in inspector.queues() if queue in (None, name)]
        found = [info for name in queues for info in _waiting(inspector, name)]
    return [info for info in found if type in (None, info.type)]


def assert_enqueued(
    broker: Broker | str,
    type: str,  # noqa: A002 - as Task's
    *,
    payload: object = _ANY,
    queue: str | None = None,
    times: int = 1,
) -> list[TaskInfo]:
    """Fail unless exactly so many tasks of this type wait to be run; they are returned.

    payload: what was given to Task; only tasks of this payload count. A dict, or anything else that becomes
    JSON, also equals a payload that is the same JSON value in other words: from an instance of a class, or
    from another program. queue: only tasks in this queue count.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    waiting = enqueued(broker)
    wanted = None if payload is _ANY else b"" if payload is None else encode_payload(payload)
    same = _in_other_words if _becomes_json(payload) else bytes.__eq__
    found = [
        info
        for info in waiting
        if info.type == type
        and queue in (None, info.queue)
        and (wanted is None or same(wanted, info.payload))
    ]
    if len(found) != times:
        there = "\n".join(f"  {info.type} {info.payload!r} in {info.queue!r}" for info in waiting)
        with_payload = "" if wanted is None else f" with payload {wanted!r}"
        in_queue = "" if queue is None else f" in queue {queue!r}"
        raise AssertionError(
            f"expected {times} task(s) {type!r}{with_payload}{in_queue} to be enqueued, found {len(found)};"
            f" waiting are:\n{there or '  none'}"
        )
    return found


def _becomes_json(payload: object) -> bool:
    return payload is not None and not isinstance(payload, (bytes, bytearray, memoryview, str))


def _in_other_words(wanted: bytes, payload: bytes) -> bool:
    """True if both are the same JSON value, whatever the order of keys, the spaces and the escapes."""
    try:
        texts = {encode_payload([json.loads(each)]) for each in (wanted, payload)}
    except (TypeError, ValueError, RecursionError):
        return wanted == payload
    return len(texts) == 1


class _TaskRunner:
    """Does for one task at a time what a server does for many."""

    def __init__(self, broker: Broker, step: HandlerAdapter, retry_delay: RetryDelay | None) -> None:
        self.executors = Executors.of(1)
        self._broker = broker
        self._step = step
        self._time = BrokerTime(broker.clock)
        self._rules = RetryPolicy(rng=Random(0), delay=retry_delay)  # noqa: S311 - delays that repeat

    async def next_due(self, queues: Sequence[str] | None) -> Delivery | None:
        """The next task, taken; None when nothing is due."""
        names = tuple(queues) if queues else await self._broker.aexecute(ListQueues())
        for queue in names:
            while (await self._broker.aexecute(Forward(queue=queue))).moved:
                pass
        fetch = Dequeue(orders=(names,) if names else (), token=str(uuid4()), lease=TEST_LEASE)
        sent = self._time.mark()
        delivery = next(iter(await self._broker.aexecute(fetch)), None)
        if delivery is not None and delivery.delivered_at:
            self._time.update(delivery.delivered_at, sent=sent)
        return delivery

    async def run(self, delivery: Delivery) -> Outcome:
        """Run the task and settle it."""
        run = Run(delivery, self._step, broker=self._broker, executors=self.executors, clock=self._time)
        outcome = await run.execute()
        settlement: Op[None] | None = decide(delivery, outcome, self._rules, self._time.now())
        if settlement is not None:
            await self._broker.aexecute(settlement)
        return outcome


def _noted(delivery: Delivery, outcome: Outcome) -> TaskRun:
    return TaskRun(
        task=Task.from_message(delivery.message),
        task_id=delivery.message.id,
        queue=delivery.message.queue,
        retried=delivery.message.retried,
        result=outcome.result if isinstance(outcome, Succeeded) else None,
        error=error_of(outcome),
    )


def _waiting(inspector: Inspector, queue: str) -> Iterator[TaskInfo]:
    for state in (TaskState.PENDING, TaskState.SCHEDULED, TaskState.RETRY):
        yield from inspector.tasks(queue, state)
    for group in inspector.groups(queue):
        yield from inspector.tasks(queue, TaskState.AGGREGATING, group.name)
