"""How many requests a worker sends for its tasks: what ends together is settled and replaced in one."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Dequeue, Done, Enqueue, Requeue
from asynq_sqlite import MemoryBroker
from tests.server.conftest import ServerLab, opened
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.protocol.ops import Op


class RecordingBroker(MemoryBroker):
    """Records how many tasks each request of the processor settles and wants."""

    def __init__(self, *, concurrent_calls: bool = False) -> None:
        super().__init__()
        self._capabilities = replace(self._capabilities, concurrent_calls=concurrent_calls)
        self.requests: list[tuple[int, int]] = []

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        settled = sum(isinstance(op, Done) for op in ops)
        wanted = sum(len(op.orders) for op in ops if isinstance(op, Dequeue))
        if settled or wanted:
            self.requests.append((settled, wanted))
        return await super().aexecute_many(ops)


@pytest.fixture
async def recorded() -> AsyncIterator[tuple[ServerLab, list[tuple[int, int]]]]:
    broker = RecordingBroker()
    async with opened(broker) as lab:
        yield lab, broker.requests


Recorded = tuple[ServerLab, list[tuple[int, int]]]


async def drained(lab: ServerLab, tasks: int, handler: Any, concurrency: int) -> None:
    """Run so many tasks to the end."""
    ids = [await lab.enqueue() for _ in range(tasks)]
    async with lab.serving(handler, concurrency=concurrency):
        for task_id in ids:
            await lab.reaches(task_id, None)


async def noop(ctx: Context, task: Task) -> None: ...


@pytest.mark.parametrize("concurrency", [1, 3, 9])
async def test_handlers_that_end_together_are_settled_and_replaced_in_one_request(
    recorded: Recorded, concurrency: int
) -> None:
    lab, requests = recorded
    await drained(lab, 4 * concurrency, noop, concurrency)
    full = [(0, concurrency), *[(concurrency, concurrency)] * 4]
    assert requests[:5] == full


class PopularBroker(RecordingBroker):
    """Wakes the worker while it answers a fetch that found tasks."""

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        answers = await super().aexecute_many(ops)
        if isinstance(ops[-1], Dequeue) and answers[-1]:
            await self.aexecute(
                Enqueue(message=TaskMessage(id="another", type="t", queue="other"), enqueue_id="another")
            )
            for _ in range(30):
                await asyncio.sleep(0)
        return answers


async def test_new_handlers_take_their_first_steps_before_the_next_request() -> None:
    broker = PopularBroker()
    begun_after: list[int] = []

    async def handler(ctx: Context, task: Task) -> None:
        begun_after.append(len(broker.requests))

    async with opened(broker) as lab:
        ids = [await lab.enqueue() for _ in range(3)]
        async with lab.serving(handler, concurrency=10, queues=["default", "other"]):
            for task_id in ids:
                await lab.reaches(task_id, None)
    assert begun_after[:3] == [1, 1, 1]
    assert broker.requests[1] == (3, 10)


class DistantBroker(MemoryBroker):
    """Answers a request of the processor some iterations of the event loop later. Records how many wait."""

    def __init__(self, *, concurrent_calls: bool = True) -> None:
        super().__init__()
        self._capabilities = replace(self._capabilities, concurrent_calls=concurrent_calls)
        self.waiting = 0
        self.most_waiting = 0

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        answers = await super().aexecute_many(ops)
        if any(isinstance(op, Done | Dequeue) for op in ops):
            self.waiting += 1
            self.most_waiting = max(self.most_waiting, self.waiting)
            for _ in range(30):
                await asyncio.sleep(0)
            self.waiting -= 1
        return answers


@pytest.mark.parametrize(
    ("concurrency", "concurrent_calls", "most"),
    [(3, True, 1), (4, True, 2), (23, True, 2), (24, True, 2), (200, True, 2), (200, False, 1)],
)
async def test_a_full_worker_works_for_one_request_while_it_waits_for_the_other(
    concurrency: int, most: int, *, concurrent_calls: bool
) -> None:
    ran, running, peak = Counter[str](), 0, 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        ran[ctx.task_id] += 1
        await asyncio.sleep(0)
        running -= 1

    broker = DistantBroker(concurrent_calls=concurrent_calls)
    async with opened(broker) as lab:
        ids = [await lab.enqueue(queue=f"q{number % 3}") for number in range(1200)]
        async with lab.serving(handler, concurrency=concurrency, queues=["q0", "q1", "q2"]):
            await aeventually(lambda: len(ran) == len(ids))
        assert broker.most_waiting == most
        assert peak <= concurrency
        assert ran == Counter(ids)
        assert [await lab.find(task_id, f"q{number % 3}") for number, task_id in enumerate(ids)] == [
            None
        ] * 1200


async def test_what_ended_together_is_settled_by_both_requests_of_many_slots() -> None:
    broker = RecordingBroker(concurrent_calls=True)
    async with opened(broker) as lab:
        await drained(lab, 100, noop, 24)
    assert broker.requests[:3] == [(0, 24), (12, 12), (12, 12)]


@pytest.mark.parametrize("concurrency", [4, 23])
async def test_few_slots_are_filled_in_one_request_and_settled_in_the_next(concurrency: int) -> None:
    broker = RecordingBroker(concurrent_calls=True)
    async with opened(broker) as lab:
        await drained(lab, 4 * concurrency, noop, concurrency)
    assert broker.requests[:3] == [(0, concurrency), (0, concurrency), (concurrency, 0)]


class StalledBroker(MemoryBroker):
    """Does not carry out its first settlements for now. Counts the tasks that are fetched and not settled."""

    def __init__(self) -> None:
        super().__init__()
        self._capabilities = replace(self._capabilities, concurrent_calls=True)
        self.resumed = asyncio.Event()
        self.stalled = False
        self.active = self.most_active = 0

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
        settled = sum(isinstance(op, Done) for op in ops)
        if settled and not self.stalled:
            self.stalled = True
            await self.resumed.wait()
        answers: list[Any] = await super().aexecute_many(ops)
        fetched = [answer for op, answer in zip(ops, answers, strict=True) if isinstance(op, Dequeue)]
        self.active += sum(map(len, fetched)) - settled
        self.most_active = max(self.most_active, self.active)
        return answers


@pytest.mark.parametrize("concurrency", [4, 23, 24])
async def test_a_broker_that_does_not_settle_is_not_asked_for_ever_more_tasks(concurrency: int) -> None:
    broker, ran = StalledBroker(), 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal ran
        ran += 1

    async with opened(broker) as lab:
        ids = [await lab.enqueue() for _ in range(20 * concurrency)]
        async with lab.serving(handler, concurrency=concurrency):
            await aeventually(lambda: ran == len(ids))
            broker.resumed.set()
            for task_id in ids:
                await lab.reaches(task_id, None)
    assert broker.most_active <= 3 * concurrency


@pytest.mark.parametrize(("concurrency", "share"), [(9, 9), (10, 5), (23, 11)])
async def test_few_slots_are_settled_first_if_that_makes_room_in_a_queue(
    concurrency: int, share: int
) -> None:
    broker = RecordingBroker(concurrent_calls=True)
    async with opened(broker) as lab:
        ids = [await lab.enqueue() for _ in range(4 * concurrency)]
        async with lab.serving(noop, concurrency=concurrency, shared_queue_limits={"default": concurrency}):
            for task_id in ids:
                await lab.reaches(task_id, None)
    assert broker.requests[:3] == [(0, concurrency), *[(share, share)] * 2]


async def test_runs_that_end_one_by_one_are_settled_and_replaced_in_one_request() -> None:
    broker = RecordingBroker(concurrent_calls=True)
    release = [asyncio.Event() for _ in range(30)]

    async def handler(ctx: Context, task: Task) -> None:
        await release[int(task.payload)].wait()

    async with opened(broker) as lab:
        ids = [await lab.enqueue(payload=b"%d" % number) for number in range(30)]
        async with lab.serving(handler, concurrency=10):
            for task_id, event in zip(ids[:5], release, strict=False):
                event.set()
                await lab.reaches(task_id, None)
            assert broker.requests == [(0, 10), *[(1, 1)] * 5]
            for event in release:
                event.set()
            for task_id in ids:
                await lab.reaches(task_id, None)


async def test_runs_that_end_together_are_replaced_while_another_fetch_has_no_reply() -> None:
    resumed, release = asyncio.Event(), [asyncio.Event() for _ in range(30)]

    class SlowBroker(RecordingBroker):
        async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> list[Any]:
            answers = await super().aexecute_many(ops)
            if self.requests[-1:] == [(1, 1)]:
                await resumed.wait()
            return answers

    async def handler(ctx: Context, task: Task) -> None:
        await release[int(task.payload)].wait()

    broker = SlowBroker(concurrent_calls=True)
    async with opened(broker) as lab:
        ids = [await lab.enqueue(payload=b"%d" % number) for number in range(30)]
        async with lab.serving(handler, concurrency=10):
            release[0].set()
            await aeventually(lambda: len(broker.requests) == 2)
            for event in release[1:10]:
                event.set()
            await aeventually(lambda: len(broker.requests) == 3)
            assert broker.requests == [(0, 10), (1, 1), (9, 9)]
            resumed.set()
            for event in release:
                event.set()
            for task_id in ids:
                await lab.reaches(task_id, None)


async def test_the_limit_of_a_queue_holds_for_two_requests_at_once() -> None:
    running, peak, done = Counter[str](), Counter[str](), 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal peak, done
        running[ctx.queue] += 1
        peak |= running
        for _ in range(10):
            await asyncio.sleep(0)
        running[ctx.queue] -= 1
        done += 1

    broker = DistantBroker()
    async with opened(broker) as lab:
        for number in range(800):
            await lab.enqueue(queue="limited" if number % 2 else "default")
        options: dict[str, Any] = {"queues": {"limited": 2, "default": 1}, "strict_priority": True}
        async with lab.serving(handler, concurrency=100, queue_limits={"limited": 30}, **options):
            await aeventually(lambda: done == 800)
        assert broker.most_waiting == 2
    assert peak["limited"] <= 30


async def test_handlers_in_threads_that_end_together_are_settled_in_one_request(recorded: Recorded) -> None:
    lab, requests = recorded
    running = threading.Barrier(10)
    await drained(lab, 40, lambda ctx, task: running.wait(5) and None, 10)
    # The threads may hand over what has ended in a few parts.
    assert len(requests) <= 25
    assert max(settled for settled, _ in requests) > 1


async def test_a_worker_asks_for_as_many_tasks_as_have_ended(recorded: Recorded) -> None:
    lab, requests = recorded
    release = [asyncio.Event() for _ in range(4)]
    begun: list[int] = []

    async def handler(ctx: Context, task: Task) -> None:
        begun.append(int(task.payload))
        if task.payload < b"4":
            await release[int(task.payload)].wait()

    for number in range(6):
        await lab.enqueue(payload=b"%d" % number)
    async with lab.serving(handler, concurrency=4):
        await aeventually(lambda: len(begun) == 4)
        release[0].set()
        release[1].set()
        await aeventually(lambda: len(begun) == 6)
        assert requests[:2] == [(0, 4), (2, 2)]
        for event in release:
            event.set()


async def test_tasks_that_arrive_after_a_stop_are_returned(recorded: Recorded) -> None:
    lab, _ = recorded
    begun = list[bytes]()
    held, answer = asyncio.Event(), asyncio.Event()
    execute = lab.broker.aexecute_many
    returned = list[Requeue]()

    async def late(ops: Sequence[Op[Any]], /) -> list[Any]:
        answers = await execute(ops)
        returned.extend(op for op in ops if isinstance(op, Requeue))
        if any(isinstance(op, Dequeue) for op in ops):
            held.set()
            await answer.wait()
        return answers

    async def handler(ctx: Context, task: Task) -> None:
        begun.append(task.payload)

    lab.broker.aexecute_many = late  # type: ignore[method-assign]
    await lab.enqueue()
    async with lab.serving(handler) as server:
        await held.wait()
        server.stop()
        answer.set()
        await aeventually(lambda: returned)
    assert begun == []
