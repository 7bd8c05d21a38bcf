"""Helpers for tests of programs that use asynq: run enqueued tasks, assert what is enqueued, move the clock.

They work with any broker. With a `MemoryBroker` and a `FakeClock` a test needs no server and no waiting.
"""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING
from uuid import uuid4

from attrs import frozen

from asynq.checks import check_names
from asynq.client.delivery import deliver
from asynq.client.payload import encode_payload
from asynq.client.task import Task
from asynq.clock import FakeClock
from asynq.errors import RevokeTask
from asynq.handlers.adapters import adapt_handler
from asynq.handlers.executors import Executors
from asynq.handlers.fake_context import FakeContext
from asynq.handlers.hooks import error_of
from asynq.handlers.outcome import Interrupted, Succeeded, decide, wraps
from asynq.handlers.resources import Resources
from asynq.handlers.retry import RetryPolicy
from asynq.handlers.runner import Runner
from asynq.inspector.inspector import Inspector
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.connect import resolve
from asynq.protocol.ops import Dequeue, FinishParent, Forward, ListQueues, TakeParents
from asynq.runtime.loop_thread import LoopThread
from asynq.runtime.sync_async import AwaitedCalls
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from asynq.client.task_type import TaskDefinition
    from asynq.handlers.adapters import Handler, HandlerAdapter
    from asynq.handlers.outcome import Outcome
    from asynq.handlers.retry_delays import RetryDelay
    from asynq.handlers.runner import Report
    from asynq.info import TaskInfo
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

__all__ = [
    "FakeClock",
    "FakeContext",
    "TaskRun",
    "arun_until_idle",
    "assert_enqueued",
    "enqueued",
    "run_until_idle",
]

TEST_LEASE = 24 * 3600 * 1000
"""Milliseconds; long enough that no worker recovers a task while a test runs it."""
_ANY = object()


@frozen(kw_only=True)
class TaskRun:
    """The record of one run of a task."""

    task: Task
    task_id: str
    queue: str
    retried: int
    """Number of retries before this run."""
    result: bytes | None = None
    error: Exception | None = None


async def arun_until_idle(
    broker: Broker | str,
    handler: Handler,
    *,
    queues: Sequence[str] | None = None,
    raise_errors: bool = True,
    retry_delay: RetryDelay | timedelta | None = None,
    state: object = None,
    most: int = 1000,
) -> list[TaskRun]:
    """Run due tasks, one after the other, and the tasks that they enqueue, until none is due.

    The handler is called as a server calls it: with middlewares, timeouts and retries. A task that failed
    runs again when its delay is over, so move the clock and call this function again. Tasks of paused queues
    do not run, and groups are not aggregated.

    Args:
        broker: a broker, or the URL of one.
        handler: a ServeMux or any other handler.
        queues: the queues to take tasks from, most preferred first; by default all.
        raise_errors: raise the error of a handler, except a RevokeTask, once its task is settled. False: only
            record it in the run.
        retry_delay: as for a server.
        state: what handlers get as `ctx.state`, in place of what a server's lifespan yields.
        most: the number of runs after which RuntimeError is raised, because the tasks keep enqueuing tasks.

    Returns:
        The runs, in order.

    Raises:
        RuntimeError: tasks are still due after `most` runs.
        TypeError, ValueError: `queues` is invalid.
    """
    if queues is not None:
        check_names("queues", queues)
    broker, owned = resolve(broker)
    runner = _TaskRunner(Resources(broker, state), adapt_handler(handler), retry_delay)
    runs: list[TaskRun] = []
    try:
        while (delivery := await runner.next_due(queues)) is not None:
            if len(runs) == most:
                raise RuntimeError(f"tasks are still due after {most} runs")
            outcome = await runner.run(delivery)
            runs.append(_task_run(delivery, outcome))
            error = runs[-1].error
            if raise_errors and error is not None and not wraps(error, RevokeTask):
                try:
                    raise error
                finally:
                    # This frame is part of the traceback and must not keep the error and its locals alive.
                    del error, outcome, runs
    finally:
        await runner.aclose()
        if owned:
            await broker.aclose()
    return runs


def run_until_idle(
    broker: Broker | str,
    handler: Handler,
    *,
    queues: Sequence[str] | None = None,
    raise_errors: bool = True,
    retry_delay: RetryDelay | timedelta | None = None,
    state: object = None,
    most: int = 1000,
) -> list[TaskRun]:
    """`arun_until_idle` for sync tests. Async handlers run on an event loop of their own.

    Args:
        broker: a broker, or the URL of one.
        handler: a ServeMux or any other handler.
        queues: the queues to take tasks from, most preferred first; by default all.
        raise_errors: raise the error of a handler, except a RevokeTask, once its task is settled. False: only
            record it in the run.
        retry_delay: as for a server.
        state: what handlers get as `ctx.state`, in place of what a server's lifespan yields.
        most: the number of runs after which RuntimeError is raised, because the tasks keep enqueuing tasks.

    Returns:
        The runs, in order.

    Raises:
        RuntimeError: tasks are still due after `most` runs.
        TypeError, ValueError: `queues` is invalid.
    """
    broker, owned = resolve(broker)
    portal = LoopThread(broker.aclose)
    try:
        return portal.run(
            lambda: arun_until_idle(
                broker,
                handler,
                queues=queues,
                raise_errors=raise_errors,
                retry_delay=retry_delay,
                state=state,
                most=most,
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
    """The tasks that wait to be run, within a queue the next to run first.

    Pending tasks come first, then scheduled ones, those to be retried, and those in groups.

    Args:
        broker: a broker, or the URL of one.
        type: only tasks of this type.
        queue: only tasks of this queue.

    Returns:
        The tasks, by queue.
    """
    with Inspector(broker) as inspector:
        queues = [name for name in inspector.queues() if queue in (None, name)]
        found = [info for name in queues for info in _waiting(inspector, name)]
    return [info for info in found if type in (None, info.type)]


def assert_enqueued(
    broker: Broker | str,
    type: str | TaskDefinition | Task,  # noqa: A002 - as Task's
    *,
    payload: object = _ANY,
    queue: str | None = None,
    times: int = 1,
) -> list[TaskInfo]:
    """Fail unless exactly `times` matching tasks wait to be run.

    Args:
        broker: a broker, or the URL of one.
        type: type of the tasks; or their TaskType or TaskFunction; or a task, which also gives the payload.
        payload: only tasks with this payload, given as to Task. A dict, or another value that becomes JSON,
            also matches a payload with the same JSON value in a different notation, such as one from an
            instance of a class or from another program.
        queue: only tasks of this queue.
        times: the expected number of tasks.

    Returns:
        The matching tasks.

    Raises:
        AssertionError: another number of tasks matches; the message lists all tasks that wait.
    """
    __tracebackhide__ = True  # pytest shows the line of the test instead
    waiting = enqueued(broker)
    wanted = None if payload is _ANY else b"" if payload is None else encode_payload(payload)
    same = _is_same_json if _becomes_json(payload) else bytes.__eq__
    if isinstance(type, Task):
        wanted = type.payload if payload is _ANY else wanted
        same = _is_same_json if payload is _ANY else same
    type = type if isinstance(type, str) else type.type  # noqa: A001 - as above
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


def _is_same_json(wanted: bytes, payload: bytes) -> bool:
    """True if both are the same JSON value, whatever the order of keys, the whitespace and the escapes."""
    try:
        texts = {encode_payload([json.loads(each)]) for each in (wanted, payload)}
    except (TypeError, ValueError, RecursionError):
        return wanted == payload
    return len(texts) == 1


class _TaskRunner:
    """Fetches, runs and settles one task at a time, as a server does."""

    def __init__(
        self, resources: Resources, step: HandlerAdapter, retry_delay: RetryDelay | timedelta | None
    ) -> None:
        self.executors = Executors.of(1)
        self._broker = broker = resources.broker
        self._resources = resources
        self._runner = Runner(
            step, broker=broker, executors=self.executors, resources=resources, on_reports=self._ended
        )
        self._outcome: asyncio.Future[Outcome] | None = None
        self._time = BrokerTime(broker.clock)
        rng = Random(0)  # noqa: S311 - delays that repeat
        self._rules = RetryPolicy(rng=rng, delay=retry_delay, rules_of=step.failure_rules)

    async def aclose(self) -> None:
        """Free the threads and clients of the handlers."""
        self.executors.close()
        await self._resources.aclose()

    async def next_due(self, queues: Sequence[str] | None) -> Delivery | None:
        """Dequeue the next task; None when no task is due."""
        await self._enqueue_followers(queues)
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

    async def _enqueue_followers(self, queues: Sequence[str] | None) -> None:
        """Enqueue what follows the tasks that have succeeded."""
        if not self._broker.capabilities.supports(TakeParents, FinishParent):
            return
        names = tuple(queues) if queues else await self._broker.aexecute(ListQueues())
        for queue in names:
            while parents := await self._broker.aexecute(TakeParents(queue=queue, hold=TEST_LEASE)):
                await deliver(AwaitedCalls(self._broker), parents)

    async def run(self, delivery: Delivery) -> Outcome:
        """Run the task and settle it."""
        run = self._runner.create(delivery, self._time.now())
        self._outcome = asyncio.get_running_loop().create_future()
        self._runner.start([run])
        try:
            outcome = await self._outcome
        except asyncio.CancelledError:
            run.cancel(Interrupted("shutdown"))
            raise
        finally:
            # Both refer to the error of the run, whose traceback refers to this frame.
            self._outcome = None
        settlement: Op[None] | None = decide(delivery, outcome, self._rules, self._time.now())
        if settlement is not None:
            await self._broker.aexecute(settlement)
        return outcome

    def _ended(self, reports: Sequence[Report]) -> None:
        for _, outcome in reports:
            if outcome is not None and self._outcome is not None:
                self._outcome.set_result(outcome)


def _task_run(delivery: Delivery, outcome: Outcome) -> TaskRun:
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
