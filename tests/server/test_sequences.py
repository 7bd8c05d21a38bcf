"""Servers that run tasks of sequences: one at a time, in order, beside all others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.protocol import ops
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState
from asynq.worker.loops.sequences import BUSY_INTERVAL, SequenceAdvancer
from asynq_sqlite import MemoryBroker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from tests.server.conftest import ServerLab


async def test_tasks_of_a_sequence_run_one_at_a_time_in_order(lab: ServerLab) -> None:
    begun: dict[str, list[int]] = defaultdict(list)
    running: set[str] = set()
    together: set[int] = set()

    async def handler(ctx: Any, task: Task) -> None:
        name = task.headers[SEQUENCE_HEADER]
        assert name not in running, "two tasks of a sequence run at once"
        running.add(name)
        begun[name].append(int(task.payload))
        together.add(len(running))
        await asyncio.sleep(0)
        running.remove(name)
        if ctx.retried == 0 and int(task.payload) == 5:
            raise ValueError("once more")

    client = AsyncClient(lab.broker)
    for number in range(12):
        for name in ("x", "y", "z"):
            await client.enqueue(Task("t", str(number).encode(), sequence=name, max_retry=2))
    async with (
        lab.serving(handler, retry_delay=lambda *_: timedelta(0)),
        lab.serving(handler, retry_delay=lambda *_: timedelta(0)),
    ):
        await aeventually(lambda: all(len(begun[name]) == 13 for name in ("x", "y", "z")))
    again = [0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 11]
    assert begun == dict.fromkeys(("x", "y", "z"), again)


async def test_a_waiting_task_occupies_no_slot(lab: ServerLab) -> None:
    release = asyncio.Event()
    done: list[bytes] = []

    async def handler(ctx: Any, task: Task) -> None:
        if task.payload == b"first":
            await release.wait()
        done.append(task.payload)

    client = AsyncClient(lab.broker)
    for payload in (b"first", b"second", b"third"):
        await client.enqueue(Task("t", payload, sequence="s"))
    await client.enqueue(Task("t", b"other"))
    async with lab.serving(handler, concurrency=2):
        await aeventually(lambda: done == [b"other"])
        release.set()
        await aeventually(lambda: done == [b"other", b"first", b"second", b"third"])


async def test_a_server_advances_what_others_left(memory: ServerLab) -> None:
    for task_id in ("a", "b"):
        await memory.enqueue(id=task_id, headers={SEQUENCE_HEADER: "s"})
    broker = memory.broker
    assert isinstance(broker, MemoryBroker)
    # Somebody deletes the head and does not know of sequences.
    await broker.aexecute(ops.DeleteQueue(queue="default", force=True, limit=1))
    await broker.aexecute(ops.UnpauseQueue(queue="default"))
    step = SequenceAdvancer(broker, ["default", "other"]).step
    assert await step() == BUSY_INTERVAL
    left = [task for task in [await memory.find("a"), await memory.find("b")] if task]
    assert [task.state for task in left] == [TaskState.PENDING]
    assert await SequenceAdvancer(broker, ["other"]).step() is None
