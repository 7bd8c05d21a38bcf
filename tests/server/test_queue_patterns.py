"""Servers at work whose queues come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Inspector, Server
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import DeleteQueue, Dequeue, Enqueue, GetQueueStats, ListServers
from asynq.task_state import TaskState
from asynq.worker.loops import queue_follower, server_record
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq import Context, Task
    from tests.server.conftest import ServerLab

PATTERNS = {"tenant-*": 3, "default": 1}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks follow one another so quickly that a test takes no time."""
    monkeypatch.setattr(queue_follower, "FOLLOW_INTERVAL", 0.05)
    monkeypatch.setattr(server_record, "SERVER_HEARTBEAT_INTERVAL", 0.2)


class Seen:
    """A handler that counts its runs by queue."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()

    async def __call__(self, ctx: Context, task: Task) -> None:
        del task
        self.runs[ctx.queue] += 1


async def test_queues_that_exist_are_served_and_so_are_new_ones(lab: ServerLab) -> None:
    seen = Seen()
    await lab.enqueue(queue="tenant-old")
    await lab.enqueue(queue="other")
    async with lab.serving(seen, queues=PATTERNS):
        await aeventually(lambda: seen.runs == {"tenant-old": 1})
        for number in range(20):
            await lab.enqueue(queue=f"tenant-{number}")
        await lab.enqueue()
        await aeventually(lambda: seen.runs.total() == 22)
        await lab.enqueue(queue="tenant-7")
        await aeventually(lambda: seen.runs["tenant-7"] == 2)
    assert "other" not in seen.runs


async def test_a_server_with_nothing_but_a_pattern_starts_without_queues(lab: ServerLab) -> None:
    seen = Seen()
    async with lab.serving(seen, queues=["tenant-*"]):
        await lab.enqueue(queue="tenant-1")
        await aeventually(lambda: seen.runs == {"tenant-1": 1})


async def test_a_deleted_queue_is_dropped_and_one_of_the_same_name_is_served_again(lab: ServerLab) -> None:
    seen = Seen()
    async with lab.serving(seen, queues=PATTERNS) as server:
        await lab.enqueue(queue="tenant-1")
        await aeventually(lambda: seen.runs["tenant-1"] == 1)
        worker: Any = server._worker
        await aeventually(lambda: list(worker._queues) == ["tenant-1", "default"])
        await aeventually(lambda: _deleted(lab, "tenant-1"))
        await aeventually(lambda: list(worker._queues) == ["default"])
        await lab.enqueue(queue="tenant-1")
        await aeventually(lambda: seen.runs["tenant-1"] == 2)


async def _deleted(lab: ServerLab, queue: str) -> bool:
    """Delete the queue once its last task is settled."""
    if (await lab.broker.aexecute(GetQueueStats(queue=queue))).size:
        return False
    await lab.broker.aexecute(DeleteQueue(queue=queue, force=False))
    return True


async def test_scheduled_and_lost_tasks_of_a_new_queue_are_taken(lab: ServerLab) -> None:
    seen = Seen()
    async with lab.serving(seen, queues=["tenant-*"]):
        await lab.enqueue(queue="tenant-later", process_in=100)
        message = TaskMessage(id="lost", type="t", queue="tenant-lost")
        await lab.broker.aexecute(Enqueue(message=message, enqueue_id="lost"))
        # Whoever is first: this worker, which does not extend its lease, or the server.
        await lab.broker.aexecute(Dequeue(orders=(("tenant-lost",),), token="gone", lease=100))
        await aeventually(lambda: seen.runs == {"tenant-later": 1, "tenant-lost": 1})


async def test_groups_of_a_new_queue_are_aggregated(memory: ServerLab) -> None:
    seen = Seen()

    def first(group: str, tasks: Any) -> Any:
        del group
        return tasks[0]

    async with memory.serving(seen, queues=["tenant-*"], aggregator=first, group_max_size=2):
        await memory.enqueue(queue="tenant-1", group="g")
        await memory.enqueue(queue="tenant-1", group="g")
        await aeventually(lambda: seen.runs == {"tenant-1": 1})


async def test_a_paused_queue_of_a_pattern_is_left(lab: ServerLab) -> None:
    seen = Seen()
    paused = await lab.enqueue(queue="tenant-1")
    Inspector(lab.broker).pause("tenant-1")
    async with lab.serving(seen, queues=["tenant-*"]):
        await lab.enqueue(queue="tenant-2")
        await aeventually(lambda: seen.runs == {"tenant-2": 1})
        await lab.reaches(paused, TaskState.PENDING, queue="tenant-1")
        Inspector(lab.broker).unpause("tenant-1")
        await aeventually(lambda: seen.runs["tenant-1"] == 1)


async def test_the_record_of_a_server_names_its_patterns_and_its_queues(
    lab: ServerLab,
) -> None:
    await lab.enqueue(queue="tenant-1")
    async with lab.serving(Seen(), queues=PATTERNS, strict_priority=True):

        async def recorded() -> bool:
            servers = await lab.broker.aexecute(ListServers())
            return [dict(server.queues) for server in servers] == [PATTERNS | {"tenant-1": 3}]

        await aeventually(recorded)


async def test_a_burst_waits_until_the_queues_of_its_patterns_are_known(lab: ServerLab) -> None:
    seen = Seen()
    for number in range(3):
        await lab.enqueue(queue=f"tenant-{number}")
    await Server(lab.broker, queues=["tenant-*"], burst=True).serve(seen)
    assert seen.runs.total() == 3


async def test_a_limit_of_a_pattern_holds_in_each_queue(memory: ServerLab) -> None:
    running: Counter[str] = Counter()
    release = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        del task
        running[ctx.queue] += 1
        await release.wait()

    for number in range(12):
        await memory.enqueue(queue=f"tenant-{number % 2}")
    async with memory.serving(handler, queues=["tenant-*"], concurrency=8, queue_limits={"tenant-*": 2}):
        await aeventually(lambda: running == {"tenant-0": 2, "tenant-1": 2})
        release.set()
        await aeventually(lambda: running.total() == 12)
