"""Iterating over tasks that come and go: page by page, in constant memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from asynq.info import TaskInfo
from asynq.protocol.ops import GetQueueStats, ListTasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.runtime.sync_async import BrokerCalls
    from asynq.task_state import TaskState

_PAGE = 100
_OVERLAP = 50
"""Tasks of the page before that are read again, to see where they are now."""
_REMEMBERED = 1000


async def task_pages(
    broker: BrokerCalls, queue: str, state: TaskState, group: str
) -> AsyncGenerator[TaskInfo, None]:
    """All tasks of one state.

    Others move tasks meanwhile, perhaps the very caller, who deletes each one. So a page begins before the
    end of the last one, and goes on behind the tasks of that which are still there; when none is, it goes
    back until it finds one or stands at the beginning. A page leaves out what cannot be decoded: one without
    a new task is the last only if the queue has no more.
    """
    recent: deque[str] = deque(maxlen=_REMEMBERED)
    position = 0
    damaged = False
    while True:
        offset = max(position - _OVERLAP, 0)
        limit = position - offset + _PAGE
        page = await broker.execute(
            ListTasks(queue=queue, state=state, group=group, offset=offset, limit=limit)
        )
        met = set(recent)
        known = [place for place, task in enumerate(page) if task.message.id in met]
        if offset and not known and not damaged:
            position = offset
            continue
        fresh = [task for task in page[known[-1] + 1 if known else 0 :] if task.message.id not in met]
        position = offset + limit
        damaged = not fresh
        if damaged:
            stats = await broker.execute(GetQueueStats(queue=queue))
            if position >= getattr(stats, state.value):
                return
            continue
        recent.extend(task.message.id for task in fresh)
        for task in fresh:
            yield TaskInfo.of(task)
