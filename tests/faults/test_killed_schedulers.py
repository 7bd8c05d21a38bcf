"""Schedulers in processes of their own, some of them killed: each tick is enqueued once all the same."""

from __future__ import annotations

import subprocess
import sys
from zoneinfo import ZoneInfo

from asynq import AsyncInspector, Task, connect
from asynq.client.options import Options
from asynq.protocol.ops import GetLastTick
from asynq.scheduler.entries import Entry
from tests.waiting import aeventually

PROGRAM = """
import datetime, sys, asynq
scheduler = asynq.Scheduler(sys.argv[1], catch_up=datetime.timedelta(minutes=1))
scheduler.register("@every 1s", asynq.Task("tick"))
scheduler.run()
"""
ENTRY = Entry.of("@every 1s", Task("tick"), Options(), ZoneInfo("UTC"))
TICKS = 4


async def test_killed_schedulers_neither_lose_nor_duplicate_a_tick(shared_url: str) -> None:
    processes = start(shared_url, 3)
    try:
        async with AsyncInspector(shared_url) as inspector:

            async def enqueued() -> bool:
                events = [event async for event in inspector.enqueue_events(ENTRY.id)]
                for process in processes[: min(len(events), 2)]:
                    process.kill()
                return len(events) >= TICKS

            await aeventually(enqueued)
            assert [process.poll() is None for process in processes] == [False, False, True]
            end(processes)
            tasks = [task async for task in inspector.tasks("default", "pending")]
        broker = connect(shared_url)
        last = broker.execute(GetLastTick(queue="default", entry_id=ENTRY.id))
        broker.close()
        first = min(task.next_process_at for task in tasks if task.next_process_at)
        assert last is not None
        assert len(tasks) == last // 1000 - int(first.timestamp()) + 1
    finally:
        end(processes)


def start(url: str, count: int) -> list[subprocess.Popen[bytes]]:
    return [subprocess.Popen([sys.executable, "-c", PROGRAM, url]) for _ in range(count)]


def end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
        process.wait()
