"""Reads one page of tasks, from either end of their state, in bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from asynq.info import TaskInfo
from asynq.inspector.paging import PageSize
from asynq.instants import instant_of
from asynq.protocol.ops import ListTasks, Ping

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.inspector.task_filter import TaskFilter
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import StoredTask
    from asynq.task_state import TaskState


@define
class FoundTasks:
    """The tasks of a page."""

    tasks: list[TaskInfo] = field(factory=list)
    next_offset: int | None = None
    """Where the next page begins; None if there is none."""
    scanned: int = 0
    """Tasks that were looked at."""


@define(kw_only=True)
class TaskRange:
    """Tasks of one state, counted from one end.

    Args:
        broker: The broker.
        queue: Name of the queue.
        state: Their state.
        group: The group of aggregating tasks; "" for other states.
        total: How many there are; None if that is unknown, so that they can be read from the beginning only.
        newest_first: Whether they are counted from the end.
    """

    broker: Broker
    queue: str
    state: TaskState
    group: str
    total: int | None
    newest_first: bool = False

    async def page(self, offset: int, size: int) -> FoundTasks:
        """So many tasks from an offset on."""
        stored = await self._read(offset, size)
        end = offset + size
        more = len(stored) == size if self.total is None else end < self.total
        return FoundTasks([TaskInfo.of(each) for each in stored], end if more else None, len(stored))

    async def matching(self, where: TaskFilter, offset: int, size: int, limit: int) -> FoundTasks:
        """So many tasks that a filter selects, from an offset on. At most `limit` tasks are looked at."""
        now = instant_of(await self.broker.aexecute(Ping()))
        found = FoundTasks(next_offset=offset)
        async for behind, task in self.scan(offset, limit):
            found.next_offset = behind
            if task is None:
                continue
            found.scanned += 1
            if where.matches(task, now):
                found.tasks.append(task)
                if len(found.tasks) == size:
                    break
        return found

    async def count(self, where: TaskFilter | None, limit: int) -> tuple[int, int, bool]:
        """How many tasks a filter selects, how many were looked at, and whether these are all."""
        now = instant_of(await self.broker.aexecute(Ping()))
        count = scanned = 0
        end: int | None = 0
        async for behind, task in self.scan(0, limit):
            end = behind
            if task is not None:
                scanned += 1
                count += where is None or where.matches(task, now)
        return count, scanned, end is None

    async def scan(self, offset: int, limit: int) -> AsyncGenerator[tuple[int | None, TaskInfo | None], None]:
        """Each task with the offset behind it. At last None with where to go on: None at the end."""
        size, left = PageSize(), limit
        while left:
            step = min(size.tasks, left)
            stored = await self._read(offset, step)
            size.adapt(stored)
            for place, each in enumerate(stored):
                yield offset + place + 1, TaskInfo.of(each)
            offset += step
            left -= step
            if len(stored) < step and (self.total is None or offset >= self.total):
                yield None, None
                return
        yield offset, None

    async def _read(self, offset: int, limit: int) -> list[StoredTask]:
        start = offset
        if self.newest_first:
            total = self.total or 0
            start = max(total - offset - limit, 0)
            limit = max(total - offset, 0) - start
        if not limit:
            return []
        tasks = await self.broker.aexecute(
            ListTasks(queue=self.queue, state=self.state, group=self.group, offset=start, limit=limit)
        )
        return list(reversed(tasks)) if self.newest_first else list(tasks)
