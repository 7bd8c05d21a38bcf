"""What tests of aggregation say often."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.protocol import ops
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

MINUTE = 60_000


def joined(group: str, tasks: list[Task]) -> Task:
    """The aggregate of most tests."""
    payload = b",".join(task.payload for task in tasks)
    return Task("merged", payload, headers={"group": group}, max_retry=3)


async def add(broker: Broker, *payloads: str, group: str = "g") -> None:
    """Add a task to a group for each payload, which is its id too."""
    async with AsyncClient(broker) as client:
        for payload in payloads:
            await client.enqueue(Task("page", payload, task_id=payload, group=group))


def pending(broker: Broker) -> list[bytes]:
    """Payloads of the pending tasks."""
    page = ops.ListTasks(queue="default", state=TaskState.PENDING)
    return [task.message.payload for task in broker.execute(page)]


def groups(broker: Broker) -> dict[str, int]:
    """Sizes of the groups."""
    page = broker.execute(ops.ListGroups(queue="default"))
    return {group.name: group.size for group in page.groups}
