"""Iterating over tasks that come and go: page by page, in constant memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define

from asynq.info import TaskInfo
from asynq.protocol.ops import GetQueueStats, ListTasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from asynq.protocol.message import StoredTask
    from asynq.runtime.sync_async import BrokerCalls
    from asynq.task_state import TaskState

_LONGEST: Final = 1000
"""Tasks of one page."""
_MEMORY: Final = 4 * 1024 * 1024
"""Bytes of the tasks of one page, if they are as large as those of the page before."""
_OVERHEAD: Final = 1024
"""Approximate bytes of a task without its payload, its result and its error."""
_OVERLAP: Final = 50
"""Tasks of the page before that are read again, to see where they are now."""


@define
class PageSize:
    """How many tasks the next page has: many if those of the last one were small.

    Few large pages cost less than many small ones: some brokers count the tasks before a page.
    """

    tasks: int = 100

    def adapt(self, page: Sequence[StoredTask]) -> None:
        """Learn how large the tasks of a page are."""
        if page:
            size = sum(map(_bytes_of, page)) // len(page)
            self.tasks = min(max(_MEMORY // (size + _OVERHEAD), 1), _LONGEST)


def _bytes_of(task: StoredTask) -> int:
    return len(task.message.payload) + len(task.message.error) + len(task.result or b"")


async def task_pages(
    broker: BrokerCalls, queue: str, state: TaskState, group: str
) -> AsyncGenerator[TaskInfo, None]:
    """All tasks of one state.

    Others move tasks meanwhile, perhaps the very caller, who deletes each one. So a page begins before the
    end of the last one, and goes on behind the tasks of that which are still there; when none is, it goes
    back by a page until it finds one or stands at the beginning. A page leaves out what cannot be decoded:
    one without a new task is the last only if the queue has no more.
    """
    recent: deque[str] = deque(maxlen=2 * _LONGEST)
    size = PageSize()
    position, back = 0, _OVERLAP
    damaged = False
    while True:
        offset = max(position - back, 0)
        limit = position - offset + size.tasks
        page = await broker.execute(
            ListTasks(queue=queue, state=state, group=group, offset=offset, limit=limit)
        )
        met = set(recent)
        known = [place for place, task in enumerate(page) if task.message.id in met]
        if offset and not known and not damaged:
            position, back = offset, size.tasks
            continue
        back = _OVERLAP
        fresh = [task for task in page[known[-1] + 1 if known else 0 :] if task.message.id not in met]
        position = offset + limit
        damaged = not fresh
        if damaged:
            stats = await broker.execute(GetQueueStats(queue=queue))
            if position >= getattr(stats, state.value):
                return
            continue
        size.adapt(page)
        recent.extend(task.message.id for task in fresh)
        for task in fresh:
            yield TaskInfo.of(task)
