"""Inspecting queues and processes, and moving single tasks by hand: what the methods of inspectors do.

Each function is written once, for `Inspector` and `AsyncInspector` (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from asynq.checks import (
    check_count,
    check_due,
    check_duration,
    check_flag,
    check_name,
    check_names,
    check_one_of,
)
from asynq.client.payload import encode_payload
from asynq.errors import QueueNotFoundError, TaskNotFoundError, UnsupportedOperationError
from asynq.info import QueueInfo, TaskInfo
from asynq.instants import milliseconds_of
from asynq.protocol.answers import unwrap
from asynq.protocol.ops import (
    ArchiveTask,
    CancelTask,
    DeleteQueue,
    DeleteTask,
    DescribeBroker,
    GetHistory,
    GetMemory,
    GetQueueStats,
    GetTask,
    ListEnqueueEvents,
    ListQueues,
    ListSchedulerEntries,
    ListServers,
    PauseQueue,
    RunTask,
    UnpauseQueue,
    UpdateTask,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import datetime, timedelta

    from asynq.protocol.broker_info import BrokerInfo
    from asynq.protocol.history import DayStats
    from asynq.protocol.ops.manage import CancelAction
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo
    from asynq.runtime.sync_async import BrokerCalls

BULK = 200
"""Tasks moved by one operation of a bulk verb."""
EVENTS = 100
"""Enqueue events in one page."""
KEEP: Final = object()
"""In place of a payload: the task keeps the one that it has."""
check_action = check_one_of("archive", "retry")


# --- looking --------------------------------------------------------------------------------------------


async def queue_info(broker: BrokerCalls, queue: str) -> QueueInfo:
    """Sizes by state, latency, memory, counters. QueueNotFoundError."""
    check_name("queue", queue)
    stats = await broker.execute(GetQueueStats(queue=queue))
    memory: int | None = None
    with suppress(UnsupportedOperationError):
        memory = await broker.execute(GetMemory(queue=queue))
    return QueueInfo.of(stats, memory)


async def history(broker: BrokerCalls, queue: str, days: int = 30) -> tuple[DayStats, ...]:
    """Runs of the last 1 to 90 days (UTC), today first. QueueNotFoundError."""
    check_name("queue", queue)
    check_count("days", days)
    return await broker.execute(GetHistory(queue=queue, days=days))


async def broker_info(broker: BrokerCalls, queues: Sequence[str] = ()) -> BrokerInfo:
    """The store: version, topology, nodes, memory, what may lose tasks; and which node holds these queues.

    UnsupportedOperationError if the broker cannot describe itself.
    """
    check_names("queues", queues)
    return await broker.execute(DescribeBroker(queues=tuple(queues)))


async def servers(broker: BrokerCalls) -> tuple[ServerInfo, ...]:
    """The servers that live, with what they run; one that died is among them for ten seconds more."""
    return await broker.execute(ListServers())


async def scheduler_entries(broker: BrokerCalls) -> tuple[SchedulerEntry, ...]:
    """The periodic tasks of all schedulers that live, each once."""
    return await broker.execute(ListSchedulerEntries())


def enqueue_events(broker: BrokerCalls, entry_id: str) -> AsyncGenerator[EnqueueEvent, None]:
    """What an entry enqueued, latest first. What it enqueues meanwhile is left out."""
    check_name("entry_id", entry_id)
    return _enqueue_events(broker, entry_id)


async def _enqueue_events(broker: BrokerCalls, entry_id: str) -> AsyncGenerator[EnqueueEvent, None]:
    seen: set[EnqueueEvent] = set()
    offset = 0
    while page := await broker.execute(ListEnqueueEvents(entry_id=entry_id, offset=offset, limit=EVENTS)):
        for event in page:
            if event not in seen:
                yield event
        seen.update(page)
        offset += len(page)


async def task(broker: BrokerCalls, queue: str, task_id: str) -> TaskInfo:
    """One task as it is now. TaskNotFoundError."""
    check_name("queue", queue)
    check_name("task_id", task_id)
    return TaskInfo.of(await broker.execute(GetTask(queue=queue, task_id=task_id)))


async def find_tasks(broker: BrokerCalls, task_id: str) -> tuple[TaskInfo, ...]:
    """The tasks of this id in all queues, sorted by queue. Ids are unique within a queue only."""
    check_name("task_id", task_id)
    looks = [GetTask(queue=queue, task_id=task_id) for queue in sorted(await broker.execute(ListQueues()))]
    answers = await broker.execute_many(looks) if looks else []
    missing = (TaskNotFoundError, QueueNotFoundError)
    return tuple(TaskInfo.of(unwrap(answer)) for answer in answers if not isinstance(answer, missing))


# --- single tasks ---------------------------------------------------------------------------------------


async def run_task(broker: BrokerCalls, queue: str, task_id: str) -> None:
    """Make a scheduled, retried, archived, completed or aggregating task pending, to run by itself.

    TaskNotFoundError; TaskStateError when it is active, pending or held by an aggregator.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    await broker.execute(RunTask(queue=queue, task_id=task_id))


async def archive_task(broker: BrokerCalls, queue: str, task_id: str) -> None:
    """Move a task that is neither active nor archived to the archive; nothing is counted.

    TaskNotFoundError, TaskStateError. An active one: `cancel`.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    await broker.execute(ArchiveTask(queue=queue, task_id=task_id))


async def delete_task(broker: BrokerCalls, queue: str, task_id: str) -> None:
    """Delete a task that is not active, with its result and its uniqueness lock.

    TaskNotFoundError, TaskStateError.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    await broker.execute(DeleteTask(queue=queue, task_id=task_id))


async def update_payload(broker: BrokerCalls, queue: str, task_id: str, payload: object) -> None:
    """Give a task that waits to run, or is archived, another payload: bytes, str, a value for JSON, or None.

    Its uniqueness lock goes by the new payload from then on: DuplicateTaskError when another task holds it.
    TaskNotFoundError; TaskStateError for an active or completed task.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    await broker.execute(UpdateTask(queue=queue, task_id=task_id, payload=_encoded(payload)))


async def reschedule(
    broker: BrokerCalls,
    queue: str,
    task_id: str,
    *,
    process_at: datetime | None = None,
    process_in: timedelta | None = None,
    payload: object = KEEP,
) -> None:
    """Change when a scheduled or retried task is due, and its payload if one is given, in one step.

    Give either a time zone aware `process_at` or `process_in`. A time in the past is the present. The task's
    uniqueness lock, whose time counts from the due time of a scheduled task, moves with it; a new payload
    changes it as in `update_payload`. TaskNotFoundError; TaskStateError for a task in any other state;
    DuplicateTaskError. An error means that nothing was changed.
    """
    check_name("queue", queue)
    check_name("task_id", task_id)
    await broker.execute(
        update_of(queue, task_id, process_at=process_at, process_in=process_in, payload=payload)
    )


def update_of(
    queue: str,
    task_id: str,
    *,
    process_at: datetime | None,
    process_in: timedelta | None,
    payload: object = KEEP,
) -> UpdateTask:
    """The operation that gives a task another due time. ValueError or TypeError for one that is invalid."""
    if (process_at is None) is (process_in is None):
        raise ValueError("give either process_at or process_in")
    if process_at is not None:
        check_due("process_at", process_at)
    if process_in is not None:
        check_duration("process_in", process_in)
    return UpdateTask(
        queue=queue,
        task_id=task_id,
        payload=None if payload is KEEP else _encoded(payload),
        process_at=None if process_at is None else milliseconds_of(process_at),
        process_in=None if process_in is None else milliseconds_of(process_in),
    )


def _encoded(payload: object) -> bytes:
    return b"" if payload is None else encode_payload(payload)


async def cancel(
    broker: BrokerCalls, task_id: str, queue: str | None = None, then: CancelAction = "archive"
) -> bool:
    """End the run of an active task, wherever it runs; False if no such task is active.

    The task is then archived, or retried as after a failure. Its worker is told at once; should that fail, it
    sees it when it next extends the lease. A handler that does not end when told goes on until it does.
    Without `queue` it is looked for in all queues. A Go worker retries, whatever is asked.
    """
    check_name("task_id", task_id)
    if queue is not None:
        check_name("queue", queue)
    check_action("then", then)
    return await broker.execute(CancelTask(task_id=task_id, queue=queue, then=then))


# --- queues ---------------------------------------------------------------------------------------------


async def pause(broker: BrokerCalls, queue: str) -> bool:
    """Let nobody take tasks from the queue; all else goes on. True if it was not paused before."""
    check_name("queue", queue)
    return await broker.execute(PauseQueue(queue=queue))


async def unpause(broker: BrokerCalls, queue: str) -> bool:
    """Let tasks be taken from the queue again. True if it was paused."""
    check_name("queue", queue)
    return await broker.execute(UnpauseQueue(queue=queue))


async def delete_queue(broker: BrokerCalls, queue: str, force: bool = False) -> int:  # noqa: FBT001, FBT002 - as the API names it
    """Delete a queue with all that belongs to it, in small steps; how many tasks went with it.

    QueueNotFoundError; QueueNotEmptyError when it holds tasks and `force` is not set, or when a task is
    active. Nobody dequeues while it goes on; broken off halfway, the queue stays paused until it is deleted
    or unpaused.
    """
    check_name("queue", queue)
    check_flag("force", force)
    deleted = 0
    while True:
        step = await broker.execute(DeleteQueue(queue=queue, force=force, limit=BULK))
        deleted += step.tasks
        if step.done:
            return deleted
