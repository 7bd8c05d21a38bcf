"""Listing queues, groups and tasks.

Each function is written once, for `Inspector` and `AsyncInspector` (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.checks import check_name, check_text
from asynq.inspector.paging import task_pages
from asynq.instants import instant_of
from asynq.protocol.ops import GetQueueStats, ListGroups, ListQueues, Ping
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.info import TaskInfo
    from asynq.inspector.task_filter import TaskFilter
    from asynq.protocol.groups import GroupInfo
    from asynq.runtime.sync_async import BrokerCalls


@frozen
class TaskSelection:
    """Tasks of one state that a filter selects; of aggregating ones, those of one group or of all."""

    queue: str
    state: TaskState
    group: str | None = None
    where: TaskFilter | None = None

    @classmethod
    def of(
        cls, queue: str, state: TaskState | str, group: str | None, where: TaskFilter | None
    ) -> TaskSelection:
        """Check what a caller gives. TypeError, ValueError."""
        check_name("queue", queue)
        if group is not None:
            check_text("group", group)
        return cls(queue, _state(state), group, where)


async def queues(broker: BrokerCalls) -> tuple[str, ...]:
    """Names of all queues that were ever enqueued to and not deleted, sorted."""
    return await broker.execute(ListQueues())


def groups(broker: BrokerCalls, queue: str) -> AsyncGenerator[GroupInfo, None]:
    """The groups of a queue that hold tasks, in no particular order."""
    check_name("queue", queue)
    return _groups(broker, queue)


async def _groups(broker: BrokerCalls, queue: str) -> AsyncGenerator[GroupInfo, None]:
    cursor = ""
    while True:
        page = await broker.execute(ListGroups(queue=queue, cursor=cursor))
        for group in page.groups:
            yield group
        cursor = page.cursor
        if not cursor:
            return


def tasks(
    broker: BrokerCalls,
    queue: str,
    state: TaskState | str,
    group: str | None = None,
    *,
    where: TaskFilter | None = None,
) -> AsyncGenerator[TaskInfo, None]:
    """All tasks of a queue in one state, next to run or oldest first, any number in constant memory.

    `group` is for aggregating tasks, and must then be given. `where` restricts them to those that a filter
    selects. A task that stays where it is comes exactly once, whatever happens to the others, also when the
    caller runs, archives or deletes each one; a task that moves meanwhile may be missed. QueueNotFoundError.
    """
    selection = TaskSelection.of(queue, state, group, where)
    if (group is not None) is not (selection.state is TaskState.AGGREGATING):
        raise ValueError("group must be given for aggregating tasks, and for no others")
    return matching(broker, selection)


async def matching(broker: BrokerCalls, selection: TaskSelection) -> AsyncGenerator[TaskInfo, None]:
    """The tasks of a selection. QueueNotFoundError."""
    queue, where = selection.queue, selection.where
    selects = None if where is None else partial(where.matches, now=instant_of(await broker.execute(Ping())))
    if selection.group is None and selection.state is TaskState.AGGREGATING:
        await broker.execute(GetQueueStats(queue=queue))  # an unknown queue is an error, and has no groups
        names = [info.name async for info in groups(broker, queue)]
    else:
        names = [selection.group or ""]
    for name in names:
        async for task in task_pages(broker, queue, selection.state, name):
            if selects is None or selects(task):
                yield task


def _state(state: TaskState | str) -> TaskState:
    try:
        return TaskState(state)
    except ValueError:
        known = ", ".join(state.value for state in TaskState)
        raise ValueError(f"state must be one of {known}, not {state!r}") from None
