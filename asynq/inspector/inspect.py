"""What an inspector does, each verb as a plan or a listing over operations (see asynq.runtime.sync_async)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from asynq.checks import check_count, check_flag, check_name, check_one_of, check_text
from asynq.client.payload import encode_payload
from asynq.errors import UnsupportedOperationError
from asynq.info import QueueInfo, TaskInfo
from asynq.inspector.paging import task_pages
from asynq.protocol.ops import (
    ArchiveTask,
    CancelTask,
    DeleteQueue,
    DeleteTask,
    Deletion,
    GetHistory,
    GetMemory,
    GetQueueStats,
    GetTask,
    ListEnqueueEvents,
    ListGroups,
    ListQueues,
    ListSchedulerEntries,
    ListServers,
    MoveTasks,
    PauseQueue,
    RunTask,
    UnpauseQueue,
    UpdatePayload,
)
from asynq.runtime.sync_async import Listing, Page, Plan
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.groups import GroupInfo
    from asynq.protocol.history import DayStats
    from asynq.protocol.message import QueueStats
    from asynq.protocol.ops.manage import Target, Then
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo

BULK = 200
"""Tasks moved by one operation of a bulk verb."""
EVENTS = 100
"""Enqueue events in one page."""
_check_end = check_one_of("archive", "retry")


# --- looking --------------------------------------------------------------------------------------------


def queues() -> Plan[tuple[str, ...]]:
    """Names of all queues that were ever enqueued to and not deleted, sorted."""
    names: tuple[str, ...] = yield ListQueues()
    return names


def queue_info(queue: str) -> Plan[QueueInfo]:
    """Sizes by state, latency, memory, counters. QueueNotFoundError."""
    check_name("queue", queue)
    stats: QueueStats = yield GetQueueStats(queue=queue)
    memory: int | None = None
    with suppress(UnsupportedOperationError):
        memory = yield GetMemory(queue=queue)
    return QueueInfo.of(stats, memory)


def history(queue: str, days: int = 30) -> Plan[tuple[DayStats, ...]]:
    """Runs of the last 1 to 90 days (UTC), today first. QueueNotFoundError."""
    check_name("queue", queue)
    check_count("days", days)
    past: tuple[DayStats, ...] = yield GetHistory(queue=queue, days=days)
    return past


def groups(queue: str) -> Listing[GroupInfo]:
    """The groups of a queue that hold tasks, in no particular order."""
    check_name("queue", queue)
    cursor = ""
    while True:
        page = yield ListGroups(queue=queue, cursor=cursor)
        yield Page(page.groups)
        cursor = page.cursor
        if not cursor:
            return


def servers() -> Plan[tuple[ServerInfo, ...]]:
    """The servers that live, with what they run; one that died is among them for ten seconds more."""
    seen: tuple[ServerInfo, ...] = yield ListServers()
    return seen


def scheduler_entries() -> Plan[tuple[SchedulerEntry, ...]]:
    """The periodic tasks of all schedulers that live, each once."""
    entries: tuple[SchedulerEntry, ...] = yield ListSchedulerEntries()
    return entries


def enqueue_events(entry_id: str) -> Listing[EnqueueEvent]:
    """What an entry enqueued, latest first. What it enqueues meanwhile is left out."""
    check_name("entry_id", entry_id)
    seen: set[EnqueueEvent] = set()
    offset = 0
    while page := (yield ListEnqueueEvents(entry_id=entry_id, offset=offset, limit=EVENTS)):
        yield Page([event for event in page if event not in seen])
        seen.update(page)
        offset += len(page)


def task(queue: str, task_id: str) -> Plan[TaskInfo]:
    """One task as it is now. TaskNotFoundError."""
    check_name("queue", queue)
    check_name("task_id", task_id)
    stored = yield GetTask(queue=queue, task_id=task_id)
    return TaskInfo.of(stored)


def tasks(queue: str, state: TaskState | str, group: str | None = None) -> Listing[TaskInfo]:
    """All tasks of a queue in one state, next to run or oldest first, any number in constant memory.

    `group` is for aggregating tasks, and must then be given. A task that stays where it is comes exactly
    once, whatever happens to the others, also when the caller runs, archives or deletes each one; a task that
    moves meanwhile may be missed. QueueNotFoundError.
    """
    check_name("queue", queue)
    wanted = _state(state)
    if (group is not None) is not (wanted is TaskState.AGGREGATING):
        raise ValueError("group must be given for aggregating tasks, and for no others")
    if group is not None:
        check_text("group", group)
    yield from task_pages(queue, wanted, group or "")


def _state(state: TaskState | str) -> TaskState:
    try:
        return TaskState(state)
    except ValueError:
        known = ", ".join(state.value for state in TaskState)
        raise ValueError(f"state must be one of {known}, not {state!r}") from None


# --- single tasks ---------------------------------------------------------------------------------------


def run_task(queue: str, task_id: str) -> Plan[None]:
    """Make a scheduled, retried, archived, completed or aggregating task pending, to run by itself.

    TaskNotFoundError; TaskStateError when it is active, pending or held by an aggregator.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    yield RunTask(queue=queue, task_id=task_id)


def archive_task(queue: str, task_id: str) -> Plan[None]:
    """Move a task that is neither active nor archived to the archive; nothing is counted.

    TaskNotFoundError, TaskStateError. An active one: `cancel`.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    yield ArchiveTask(queue=queue, task_id=task_id)


def delete_task(queue: str, task_id: str) -> Plan[None]:
    """Delete a task that is not active, with its result and its uniqueness lock.

    TaskNotFoundError, TaskStateError.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    yield DeleteTask(queue=queue, task_id=task_id)


def update_payload(queue: str, task_id: str, payload: object) -> Plan[None]:
    """Give a task that waits to run, or is archived, another payload: bytes, str, a value for JSON, or None.

    Its uniqueness lock goes by the new payload from then on: DuplicateTaskError when another task holds it.
    TaskNotFoundError; TaskStateError for an active or completed task.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    yield UpdatePayload(
        queue=queue, task_id=task_id, payload=b"" if payload is None else encode_payload(payload)
    )


def cancel(task_id: str, queue: str | None = None, then: Then = "archive") -> Plan[bool]:
    """End the run of an active task, wherever it runs; False if no such task is active.

    The task is then archived, or retried as after a failure. Its worker is told at once; should that fail, it
    sees it when it next extends the lease. A handler that does not end when told goes on until it does.
    Without `queue` it is looked for in all queues. A Go worker retries, whatever is asked.
    """
    check_name("task_id", task_id)
    if queue is not None:
        check_name("queue", queue)
    _check_end("then", then)
    found: bool = yield CancelTask(task_id=task_id, queue=queue, then=then)
    return found


# --- many tasks -----------------------------------------------------------------------------------------


def run_all(queue: str, state: TaskState | str, group: str | None = None) -> Plan[int]:
    """`run_task` for all scheduled, retried, archived, completed or aggregating tasks; how many.

    Those that are there when it begins, in small steps: others go on working. `group` restricts aggregating
    tasks to those of one group. QueueNotFoundError; ValueError for a state whose tasks cannot be run.
    """
    return (yield from _move_all(queue, _state(state), "pending", group))


def archive_all(queue: str, state: TaskState | str, group: str | None = None) -> Plan[int]:
    """`archive_task` for all pending, scheduled, retried, completed or aggregating tasks, as `run_all`."""
    return (yield from _move_all(queue, _state(state), "archived", group))


def delete_all(queue: str, state: TaskState | str, group: str | None = None) -> Plan[int]:
    """`delete_task` for all tasks of any state but active, as `run_all`."""
    return (yield from _move_all(queue, _state(state), "deleted", group))


def purge(queue: str) -> Plan[int]:
    """`delete_all` for every state but active: the queue stays, its tasks do not; how many."""
    check_name("queue", queue)
    deleted = 0
    for state in TaskState:
        if state is not TaskState.ACTIVE:
            deleted += yield from _move_all(queue, state, "deleted", None)
    return deleted


def _move_all(queue: str, state: TaskState, to: Target, group: str | None) -> Plan[int]:
    check_name("queue", queue)
    if group is not None:
        check_text("group", group)
    if group is not None or state is not TaskState.AGGREGATING:
        return (yield from _move(queue, state, to, group or ""))
    moved, cursor = 0, ""
    while True:
        page = yield ListGroups(queue=queue, cursor=cursor)
        for info in page.groups:
            moved += yield from _move(queue, state, to, info.name)
        cursor = page.cursor
        if not cursor:
            return moved


def _move(queue: str, state: TaskState, to: Target, group: str) -> Plan[int]:
    move = MoveTasks(queue=queue, state=state, to=to, group=group, limit=BULK)
    stats: QueueStats = yield GetQueueStats(queue=queue)
    moved, there = 0, getattr(stats, state.value)
    while moved < there:
        count: int = yield evolve(move, limit=min(BULK, there - moved))
        if not count:
            break
        moved += count
    return moved


# --- queues ---------------------------------------------------------------------------------------------


def pause(queue: str) -> Plan[bool]:
    """Let nobody take tasks from the queue; all else goes on. True if it was not paused before."""
    check_name("queue", queue)
    changed: bool = yield PauseQueue(queue=queue)
    return changed


def unpause(queue: str) -> Plan[bool]:
    """Let tasks be taken from the queue again. True if it was paused."""
    check_name("queue", queue)
    changed: bool = yield UnpauseQueue(queue=queue)
    return changed


def delete_queue(queue: str, force: bool = False) -> Plan[int]:  # noqa: FBT001, FBT002 - as the API names it
    """Delete a queue with all that belongs to it, in small steps; how many tasks went with it.

    QueueNotFoundError; QueueNotEmptyError when it holds tasks and `force` is not set, or when a task is
    active. Nobody dequeues while it goes on; broken off halfway, the queue stays paused until it is deleted
    or unpaused.
    """
    check_name("queue", queue)
    check_flag("force", force)
    deleted = 0
    while True:
        step: Deletion = yield DeleteQueue(queue=queue, force=force, limit=BULK)
        deleted += step.tasks
        if step.done:
            return deleted
