"""Ping, PauseQueue, UnpauseQueue, ListQueues, GetQueueStats, GetTask and ListTasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import QueueNotFoundError, TaskNotFoundError
from asynq.protocol.message import QueueStats, StoredTask
from asynq.task_state import TaskState
from asynq_sqlite.store.queues import day
from asynq_sqlite.store.rows import UndecodableError, stored

if TYPE_CHECKING:
    from asynq.protocol.ops import (
        GetQueueStats,
        GetTask,
        ListQueues,
        ListTasks,
        PauseQueue,
        Ping,
        UnpauseQueue,
    )
    from asynq_sqlite.store.task_store import TaskStore


def ping(store: TaskStore, op: Ping, now: int) -> int:  # noqa: ARG001 - a handler's signature
    """Read from the database and return its time."""
    store.fetch("SELECT 1")
    return now


def pause_queue(store: TaskStore, op: PauseQueue, now: int) -> bool:
    """Pause the queue. Returns whether it was running."""
    return store.pause(op.queue, now)


def unpause_queue(store: TaskStore, op: UnpauseQueue, now: int) -> bool:  # noqa: ARG001 - a handler's signature
    """Resume the queue. Returns whether it was paused."""
    return store.unpause(op.queue)


def list_queues(store: TaskStore, op: ListQueues, now: int) -> tuple[str, ...]:  # noqa: ARG001 - a handler's signature
    """Return the names in alphabetical order."""
    return tuple(sorted(name for (name,) in store.fetch("SELECT name FROM queues")))


def get_queue_stats(store: TaskStore, op: GetQueueStats, now: int) -> QueueStats:
    """Return sizes and counters of a queue."""
    totals = store.totals(op.queue)
    if totals is None:
        raise QueueNotFoundError(op.queue)
    sizes = store.sizes(op.queue)
    processed, failed = store.counted(op.queue, day(now))
    waiting_since = store.oldest_pending(op.queue)
    return QueueStats(
        queue=op.queue,
        **{state.value: sizes.get(state, 0) for state in TaskState},
        groups=store.group_count(op.queue),
        processed=processed,
        failed=failed,
        processed_total=totals[0],
        failed_total=totals[1],
        paused=store.is_paused(op.queue),
        latency=max(now - waiting_since, 0) if waiting_since else 0,
    )


def get_task(store: TaskStore, op: GetTask, now: int) -> StoredTask:
    """Return one task."""
    row = store.read(op.queue, op.task_id)
    if row is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    try:
        return stored(row, now)
    except UndecodableError:
        raise TaskNotFoundError(op.queue, op.task_id) from None


def list_tasks(store: TaskStore, op: ListTasks, now: int) -> tuple[StoredTask, ...]:
    """Return one page of the tasks in a state, without undecodable ones."""
    if store.totals(op.queue) is None:
        raise QueueNotFoundError(op.queue)
    page = []
    for row in store.page(op.queue, op.state, op.group, op.offset, op.limit):
        try:
            page.append(stored(row, now))
        except UndecodableError:
            continue
    return tuple(page)
