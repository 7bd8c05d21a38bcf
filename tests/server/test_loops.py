"""Forwarding, recovery, adoption and cleaning, step by step on a clock that only the test moves."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from asynq.clock import FakeClock
from asynq.errors import AsynqError, BrokerRefusedError, BrokerUnavailable, TaskNotFoundError
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Archive, Complete, Dequeue, Enqueue, Forward, GetTask, ListTasks
from asynq.task_state import TaskState
from asynq.worker.loops.forwarder import Forwarder
from asynq.worker.loops.janitor import Janitor
from asynq.worker.loops.queue_sweep import MAX_QUEUES_PER_STEP
from asynq.worker.loops.recoverer import Recoverer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.ops import Op, Recover
    from asynq_sqlite import MemoryBroker

T = TypeVar("T")

SECOND = 1000
LEASE = 30 * SECOND


@pytest.fixture(autouse=True)
async def _closed(broker: MemoryBroker) -> Any:
    yield
    await broker.aclose()


class OneQueueDown:
    """A broker one of whose queues always fails."""

    def __init__(self, broker: MemoryBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def aexecute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        answers = await self._broker.aexecute_many(ops)
        failing = (getattr(op, "queue", None) == self._queue for op in ops)
        return [
            BrokerRefusedError("broken") if fails else answer
            for fails, answer in zip(failing, answers, strict=True)
        ]


def enqueue(broker: MemoryBroker, task_id: str, queue: str = "q", **options: Any) -> None:
    at = options.pop("process_at", None)
    message = TaskMessage(id=task_id, type="t", queue=queue, **options)
    broker.execute(Enqueue(message=message, enqueue_id=task_id, process_at=at))


def take(broker: MemoryBroker, queue: str = "q") -> Any:
    return broker.execute(Dequeue(orders=((queue,),), token="token", lease=LEASE))[0]


def state(broker: MemoryBroker, task_id: str, queue: str = "q") -> TaskState:
    return broker.execute(GetTask(queue=queue, task_id=task_id)).state


class Forwarding:
    def __init__(self, broker: Any, *queues: str, clock: FakeClock | None = None) -> None:
        self.forwarded = 0
        time = BrokerTime(clock or broker.clock)
        self.loop = Forwarder(broker, queues or ("q",), on_forwarded=self.count, poll=lambda: 5.0, time=time)

    def count(self, queue: str) -> None:
        self.forwarded += 1


async def test_forwarding_sleeps_until_the_next_task_is_due(broker: MemoryBroker, clock: FakeClock) -> None:
    enqueue(broker, "near", process_at=clock.now() + 2 * SECOND)
    forwarding = Forwarding(broker)
    assert await forwarding.loop.step() == pytest.approx(2.0)
    assert forwarding.forwarded == 0
    clock.advance(2 * SECOND)
    assert await forwarding.loop.step() == pytest.approx(5.0, abs=0.5)
    assert state(broker, "near") is TaskState.PENDING
    assert forwarding.forwarded == 1


async def test_forwarding_checks_again_before_a_distant_due_time(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    enqueue(broker, "far", process_at=clock.now() + 3600 * SECOND)
    assert await Forwarding(broker).loop.step() == pytest.approx(5.0, abs=0.5)


@pytest.mark.parametrize("ahead", [3600 * SECOND, -3600 * SECOND])
async def test_forwarding_uses_the_time_of_the_broker(
    broker: MemoryBroker, clock: FakeClock, ahead: int
) -> None:
    enqueue(broker, "near", process_at=clock.now() + SECOND)
    forwarding = Forwarding(broker, clock=FakeClock(clock.now() + ahead))
    assert await forwarding.loop.step() == pytest.approx(1.0, abs=0.002)


async def test_forwarding_moves_several_batches_in_one_step(broker: MemoryBroker, clock: FakeClock) -> None:
    for number in range(120):
        enqueue(broker, str(number), process_at=clock.now() + SECOND)
    clock.advance(SECOND)
    await Forwarding(broker).loop.step()
    assert broker.execute(Forward(queue="q")).moved == 0
    assert state(broker, "119") is TaskState.PENDING


async def test_a_broken_queue_does_not_block_the_forwarding_of_others(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    enqueue(broker, "1", "good", process_at=clock.now() + SECOND)
    enqueue(broker, "2", "bad", process_at=clock.now() + SECOND)
    clock.advance(SECOND)
    await Forwarding(OneQueueDown(broker, "bad"), "bad", "good").loop.step()
    assert state(broker, "1", "good") is TaskState.PENDING


QUEUES = tuple(f"q{number}" for number in range(2 * MAX_QUEUES_PER_STEP + 500))
"""So many that a server looks at them in turns."""


class Asked:
    """A broker that notes how many operations it is asked for at a time."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.counts: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def aexecute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
        self.counts.append(len(ops))
        return await self._broker.aexecute_many(ops)


async def test_many_queues_are_recovered_in_turns(broker: MemoryBroker, clock: FakeClock) -> None:
    for queue in (QUEUES[0], QUEUES[-1]):
        enqueue(broker, "t", queue)
        broker.execute(Dequeue(orders=((queue,),), token=f"token-{queue}", lease=LEASE))
    clock.advance(LEASE)
    asked = Asked(broker)
    recovery = Recovery(asked, *QUEUES)
    for found in (1, 1, 2, 2):
        await recovery.loop.step()
        assert len(recovery.lost) == found
    assert max(asked.counts) == MAX_QUEUES_PER_STEP


async def test_a_marked_queue_is_forwarded_at_once(broker: MemoryBroker, clock: FakeClock) -> None:
    forwarding = Forwarding(broker, *QUEUES)
    assert await forwarding.loop.step() == pytest.approx(5 / 3, abs=0.5)  # a third of the queues at a time
    enqueue(broker, "t", QUEUES[-1], process_at=clock.now() + SECOND)
    forwarding.loop.mark(QUEUES[-1])
    assert await forwarding.loop.step() == pytest.approx(1.0)
    clock.advance(SECOND)
    await forwarding.loop.step()
    assert state(broker, "t", QUEUES[-1]) is TaskState.PENDING


async def test_all_queues_are_forwarded_at_once_on_request(broker: MemoryBroker, clock: FakeClock) -> None:
    asked = Asked(broker)
    forwarding = Forwarding(asked, *QUEUES, clock=clock)
    enqueue(broker, "t", QUEUES[-1], process_at=clock.now() + SECOND)
    clock.advance(SECOND)
    forwarding.loop.mark(None)
    await forwarding.loop.step()
    assert state(broker, "t", QUEUES[-1]) is TaskState.PENDING
    assert asked.counts == [len(QUEUES)]


class Recovery:
    def __init__(self, broker: Any, *queues: str) -> None:
        self.recovered = 0
        self.lost: list[Recover] = []
        rules = RetryPolicy(rng=Random(1), delay=lambda *_: timedelta(seconds=7))
        self.loop = Recoverer(
            broker,
            queues or ("q",),
            rules,
            interval=lambda: 0.0,
            time=BrokerTime(broker.clock),
            rng=Random(1),
            on_recovered=self.count,
            on_lost=self.lost.append,
        )

    def count(self, queue: str) -> None:
        self.recovered += 1


async def test_a_lost_task_is_pending_again_and_has_used_a_retry(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    enqueue(broker, "1")
    take(broker)
    recovery = Recovery(broker)
    clock.advance(LEASE - 1)
    await recovery.loop.step()
    assert (state(broker, "1"), recovery.recovered) == (TaskState.ACTIVE, 0)
    clock.advance(1)
    await recovery.loop.step()
    stored = broker.execute(GetTask(queue="q", task_id="1"))
    assert (stored.state, stored.message.retried) == (TaskState.PENDING, 1)
    assert stored.message.error == "asynq: task lease expired"
    assert recovery.recovered == 1
    [lost] = recovery.lost
    assert (lost.lost.message.id, lost.to) == ("1", "pending")


async def test_a_task_that_loses_its_worker_again_backs_off(broker: MemoryBroker, clock: FakeClock) -> None:
    enqueue(broker, "1")
    recovery = Recovery(broker)
    for _ in range(2):
        take(broker)
        clock.advance(LEASE)
        await recovery.loop.step()
    stored = broker.execute(GetTask(queue="q", task_id="1"))
    assert stored.state is TaskState.RETRY
    assert stored.due_at >= clock.now() + 7 * SECOND


async def test_a_lost_task_without_retries_left_is_archived(broker: MemoryBroker, clock: FakeClock) -> None:
    enqueue(broker, "1", max_retry=0)
    take(broker)
    clock.advance(LEASE)
    await Recovery(broker).loop.step()
    assert state(broker, "1") is TaskState.ARCHIVED


async def test_recovery_handles_several_batches_and_skips_broken_queues(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    for number in range(120):
        enqueue(broker, str(number), "good")
    enqueue(broker, "x", "bad")
    for number in range(3):
        broker.execute(Dequeue(orders=(("good", "bad"),) * 50, token=f"t{number}", lease=LEASE))
    clock.advance(LEASE)
    recovery = Recovery(OneQueueDown(broker, "bad"), "bad", "good")
    await recovery.loop.step()
    assert len(recovery.lost) == 120
    assert state(broker, "x", "bad") is TaskState.ACTIVE


async def test_an_unavailable_broker_is_reported_to_the_loop(broker: MemoryBroker) -> None:
    class Away(OneQueueDown):
        async def aexecute_many(self, ops: Sequence[Op[T]]) -> list[T | AsynqError]:
            raise BrokerUnavailable("away")

    with pytest.raises(BrokerUnavailable):
        await Recovery(Away(broker, "")).loop.step()


async def test_the_janitor_deletes_tasks_after_their_retention(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    for number in range(60):
        enqueue(broker, f"c{number}", retention=60)
        broker.execute(Complete(delivery=take(broker)))
    enqueue(broker, "a")
    broker.execute(Archive(delivery=take(broker), error="e"))
    janitor = Janitor(broker, ("q",))
    clock.advance(60 * SECOND)
    await janitor.step()
    assert broker.execute(ListTasks(queue="q", state=TaskState.COMPLETED, limit=100)) == ()
    assert state(broker, "a") is TaskState.ARCHIVED
    clock.advance(91 * 24 * 3600 * SECOND)
    await janitor.step()
    with pytest.raises(TaskNotFoundError):
        state(broker, "a")
