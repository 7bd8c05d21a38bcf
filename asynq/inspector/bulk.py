"""Changing many tasks by hand: all of one state, or those that a filter selects.

Each function is written once, for `Inspector` and `AsyncInspector` (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.checks import check_name
from asynq.errors import AsynqError, DuplicateTaskError, TaskNotFoundError, TaskStateError
from asynq.inspector.inspect import BULK, check_action, update_of
from asynq.inspector.listing import TaskSelection, groups, matching
from asynq.protocol.ops import ArchiveTask, CancelTask, DeleteTask, GetQueueStats, MoveTasks, RunTask
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from asynq.info import TaskInfo
    from asynq.inspector.task_filter import TaskFilter
    from asynq.protocol.ops import Op
    from asynq.protocol.ops.manage import CancelAction, MoveTarget
    from asynq.runtime.sync_async import BrokerCalls

    Progress = Callable[[int], object]
    OnTask = Callable[[TaskInfo], object]

_GONE = (TaskNotFoundError, TaskStateError, DuplicateTaskError)
"""Errors of single tasks that moved meanwhile, or cannot be changed as asked: these are left as they are."""
# Those that wait in sequences before the tasks whose end would make them pending.
_PURGED = (
    TaskState.SCHEDULED,
    *(state for state in TaskState if state not in (TaskState.ACTIVE, TaskState.SCHEDULED)),
)
_ONE: dict[MoveTarget, Callable[..., Op[None]]] = {
    "pending": RunTask,
    "archived": ArchiveTask,
    "deleted": DeleteTask,
}


async def run_all(
    broker: BrokerCalls,
    queue: str,
    state: TaskState | str,
    group: str | None = None,
    *,
    where: TaskFilter | None = None,
    progress: Progress | None = None,
    on_task: OnTask | None = None,
) -> int:
    """`run_task` for all scheduled, retried, archived, completed or aggregating tasks; how many.

    Those that are there when it begins, in small steps: others go on working. `group` restricts aggregating
    tasks to those of one group, `where` to those that a filter selects. With a filter, a task that appears
    meanwhile may be among them, and one that moves meanwhile is left out.

    Args:
        broker: Given by the inspector.
        queue: Name of the queue.
        state: The state of the tasks.
        group: For aggregating tasks, the group. None for all groups.
        where: Which of the tasks. None for all.
        progress: Called with the number of tasks so far, after each step.
        on_task: Called with each task that was changed, as it was before. The tasks are then sent one by one,
            as with a filter.

    Raises:
        QueueNotFoundError: There is no such queue.
        ValueError: The tasks of this state cannot be run.
    """
    return await _move_all(broker, TaskSelection.of(queue, state, group, where), "pending", progress, on_task)


async def archive_all(
    broker: BrokerCalls,
    queue: str,
    state: TaskState | str,
    group: str | None = None,
    *,
    where: TaskFilter | None = None,
    progress: Progress | None = None,
    on_task: OnTask | None = None,
) -> int:
    """`archive_task` for all pending, scheduled, retried, completed or aggregating tasks, as `run_all`."""
    return await _move_all(
        broker, TaskSelection.of(queue, state, group, where), "archived", progress, on_task
    )


async def delete_all(
    broker: BrokerCalls,
    queue: str,
    state: TaskState | str,
    group: str | None = None,
    *,
    where: TaskFilter | None = None,
    progress: Progress | None = None,
) -> int:
    """`delete_task` for all tasks of any state but active, as `run_all`."""
    return await _move_all(broker, TaskSelection.of(queue, state, group, where), "deleted", progress)


async def purge(broker: BrokerCalls, queue: str, *, progress: Progress | None = None) -> int:
    """`delete_all` for every state but active: the queue stays, its tasks do not; how many."""
    check_name("queue", queue)
    deleted = 0
    for state in _PURGED:
        further = _further(progress, deleted)
        deleted += await _move_all(broker, TaskSelection(queue, state), "deleted", further)
    return deleted


async def cancel_all(
    broker: BrokerCalls,
    queue: str,
    *,
    where: TaskFilter | None = None,
    then: CancelAction = "archive",
    progress: Progress | None = None,
) -> int:
    """`cancel` for all active tasks of a queue, or for those that a filter selects; how many were told.

    QueueNotFoundError.
    """
    check_name("queue", queue)
    check_action("then", then)
    cancel = partial(CancelTask, queue=queue, then=then)
    return await _apply(broker, TaskSelection(queue, TaskState.ACTIVE, where=where), cancel, progress)


async def reschedule_all(
    broker: BrokerCalls,
    queue: str,
    state: TaskState | str,
    *,
    process_at: datetime | None = None,
    process_in: timedelta | None = None,
    where: TaskFilter | None = None,
    progress: Progress | None = None,
    on_task: OnTask | None = None,
) -> int:
    """`reschedule` for all scheduled or retried tasks, or for those that a filter selects; how many.

    `progress` and `on_task` as in `run_all`. QueueNotFoundError; ValueError for any other state.
    """
    selection = TaskSelection.of(queue, state, None, where)
    if selection.state not in (TaskState.SCHEDULED, TaskState.RETRY):
        raise ValueError(f"state must be 'scheduled' or 'retry'; it is {selection.state.value!r}")
    update = partial(update_of, queue, process_at=process_at, process_in=process_in)
    update(task_id="_")  # refuses invalid times before anything changes
    return await _apply(broker, selection, update, progress, on_task)


async def _move_all(
    broker: BrokerCalls,
    selection: TaskSelection,
    to: MoveTarget,
    progress: Progress | None,
    on_task: OnTask | None = None,
) -> int:
    queue, state, group = selection.queue, selection.state, selection.group
    every_group = group is None and state is TaskState.AGGREGATING
    # A MoveTasks refuses states that do not fit, before anything changes.
    move = MoveTasks(queue=queue, state=state, to=to, group="*" if every_group else group or "", limit=BULK)
    if selection.where is not None or on_task is not None:
        one = partial(_ONE[to], queue=queue)
        return await _apply(broker, selection, one, progress, on_task, waiting=to != "pending")
    if not every_group:
        return await _move(broker, move, progress)
    moved = 0
    async for info in groups(broker, queue):
        moved += await _move(broker, replace(move, group=info.name), _further(progress, moved))
    return moved


async def _move(broker: BrokerCalls, move: MoveTasks, progress: Progress | None) -> int:
    stats = await broker.execute(GetQueueStats(queue=move.queue))
    moved, there = 0, getattr(stats, move.state.value)
    while moved < there:
        count = await broker.execute(replace(move, limit=min(BULK, there - moved)))
        if not count:
            break
        moved += count
        if progress:
            progress(moved)
    return moved


async def _apply(
    broker: BrokerCalls,
    selection: TaskSelection,
    operation: Callable[..., Op[Any]],
    progress: Progress | None,
    on_task: OnTask | None = None,
    *,
    waiting: bool = True,
) -> int:
    """Send an operation for each task that is selected; the number of those that it changed.

    Args:
        broker: Given by the inspector.
        selection: The tasks.
        operation: For the id of a task.
        progress: Called with the number of changed tasks.
        on_task: Called with each changed task, as it was before.
        waiting: Whether also for tasks that wait in sequences or for others.
    """
    changed = 0
    chosen: list[TaskInfo] = []

    async def send() -> None:
        nonlocal changed
        sent = await _send(broker, [operation(task_id=task.id) for task in chosen])
        changed += sum(sent)
        if on_task:
            for task in compress(chosen, sent):
                on_task(task)
        chosen.clear()
        if progress:
            progress(changed)

    async for task in matching(broker, selection):
        if task.waiting and not waiting:
            continue
        chosen.append(task)
        if len(chosen) == BULK:
            await send()
    if chosen:
        await send()
    return changed


async def _send(broker: BrokerCalls, operations: Sequence[Op[Any]]) -> list[bool]:
    """Which of the operations changed their tasks."""
    answers = await broker.execute_many(operations)
    for answer in answers:
        if isinstance(answer, AsynqError) and not isinstance(answer, _GONE):
            raise answer
    return [not isinstance(answer, AsynqError) and answer is not False for answer in answers]


def _further(progress: Progress | None, before: int) -> Progress | None:
    """A progress that goes on from a number."""
    return None if progress is None else lambda count: progress(before + count)
