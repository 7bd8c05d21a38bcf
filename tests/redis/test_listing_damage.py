"""Listings of a queue with many unreadable tasks in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq import Client, Inspector, Task, TaskState
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from tests.servers import RedisServer

TASKS = 500


@pytest.mark.parametrize(
    "damaged",
    [range(170, 390), range(50, 60), range(400), range(100, TASKS), range(TASKS)],
    ids=["in the middle", "a few", "from the first", "to the last", "all"],
)
@pytest.mark.parametrize("state", [TaskState.ARCHIVED, TaskState.PENDING])
def test_a_listing_continues_after_undecodable_tasks(
    redis_server: RedisServer, damaged: range, state: TaskState
) -> None:
    ids = [f"{number:03}" for number in range(TASKS)]
    with Client(redis_server.url) as client, Inspector(redis_server.url) as inspector:
        client.enqueue_many([Task("t", task_id=task_id) for task_id in ids])
        if state is TaskState.ARCHIVED:
            assert inspector.archive_all("default", TaskState.PENDING) == TASKS
        # In the order of the listing: tasks archived in one instant have their own order.
        ids = [info.id for info in inspector.tasks("default", state)]
        keys = QueueKeys("default")
        for place in damaged:
            redis_server.client.hset(keys.task(ids[place]), "msg", b"\xff\xff\xff")
        left = [task_id for place, task_id in enumerate(ids) if place not in damaged]
        assert [info.id for info in inspector.tasks("default", state)] == left
