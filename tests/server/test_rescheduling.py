"""Servers notice when a task that they wait for is rescheduled, on every broker."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import AsyncInspector, Context, Task
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from tests.server.conftest import ServerLab

HOUR = 3_600_000


@pytest.fixture(autouse=True)
def _no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is not notified waits for longer than a test."""
    monkeypatch.setattr("asynq.worker.wakeups.FALLBACK_POLL_INTERVAL", 1e6)


async def test_a_task_rescheduled_to_an_earlier_time_runs_then(lab: ServerLab) -> None:
    payloads = []

    async def handler(ctx: Context, task: Task) -> None:
        payloads.append(task.payload)

    async with lab.serving(handler):
        task_id = await lab.enqueue(payload=b"old", process_in=HOUR)
        await lab.reaches(task_id, TaskState.SCHEDULED)
        inspector = AsyncInspector(lab.broker)
        await inspector.reschedule("default", task_id, process_in=timedelta(0), payload=b"new")
        await lab.reaches(task_id, None)
    assert payloads == [b"new"]
