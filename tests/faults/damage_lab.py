"""A store with damaged tasks, and a server that works on it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asynq import AsyncClient, Server, Task, TaskState
from asynq.protocol.ops import Complete, Dequeue, GetTask, ListTasks, Retry
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq import Context
    from tests.faults.conftest import Site

GOOD = 20
"""Number of intact tasks."""


class DamageLab:
    """A store with damaged tasks among intact ones, and a server that works on all of them."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.broker = site.broker
        self.runs = Counter[str]()

    async def handler(self, ctx: Context, task: Task) -> None:
        self.runs[ctx.task_id] += 1

    async def bring(self, state: str, task_id: str = "bad") -> None:
        """Create a task of this state. An active task belongs to a worker that died."""
        later: dict[str, Any] = {"process_in": timedelta(seconds=1)} if state == "scheduled" else {}
        async with AsyncClient(self.broker) as client:
            await client.enqueue(Task("t", "x"), task_id=task_id, retention=timedelta(seconds=1), **later)
        if state in ("pending", "scheduled"):
            return
        [delivery] = await self.broker.aexecute(Dequeue(orders=(("default",),), token="dead", lease=1))
        if state == "retry":
            await self.broker.aexecute(Retry(delivery=delivery, delay=0, error="once", failure=True))
        if state == "completed":
            await self.broker.aexecute(Complete(delivery=delivery))

    async def good_tasks(self) -> None:
        """Enqueue intact tasks behind all others."""
        async with AsyncClient(self.broker) as client:
            await client.enqueue_many([Task("t", task_id=f"good{n}") for n in range(GOOD)])

    async def work_until(self, condition: Callable[[], object]) -> None:
        """Run a server until all intact tasks have run once and the condition holds."""
        server = Server(self.broker)
        await server.start(self.handler)
        try:
            await aeventually(lambda: all(self.runs[f"good{n}"] == 1 for n in range(GOOD)))
            await aeventually(condition)
        finally:
            await server.shutdown()
        assert set(self.runs.values()) <= {1}

    def archived(self) -> dict[str, str]:
        """The errors of archived tasks by id, which the listing and each task itself must agree on."""
        page = self.broker.execute(ListTasks(queue="default", state=TaskState.ARCHIVED, limit=1000))
        for task in page:
            assert self.broker.execute(GetTask(queue="default", task_id=task.message.id)) == task
        return {task.message.id: task.message.error for task in page}

    def sql(self, statement: str, *values: object) -> None:
        """Change one row without the broker."""
        with closing(sqlite3.connect(self.site.url.removeprefix("sqlite:///"))) as connection, connection:
            assert connection.execute(statement, values).rowcount == 1
