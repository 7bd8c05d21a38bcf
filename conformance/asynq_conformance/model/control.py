"""Ping, PauseQueue, UnpauseQueue, ListQueues, GetQueueStats, GetTask, ListTasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import QueueNotFoundError, TaskNotFoundError
from asynq.protocol.message import QueueStats, StoredTask
from asynq.task_state import TaskState
from asynq_conformance.model.records import Counters, day

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
    from asynq_conformance.model.state import System


def ping(system: System, op: Ping, now: int) -> int:
    """Return the time."""
    del system, op
    return now


def pause_queue(system: System, op: PauseQueue, now: int) -> bool:
    """Pause the queue: it delivers no tasks."""
    del now
    paused = op.queue not in system.paused
    system.paused.add(op.queue)
    return paused


def unpause_queue(system: System, op: UnpauseQueue, now: int) -> bool:
    """Resume the queue."""
    del now
    unpaused = op.queue in system.paused
    system.paused.discard(op.queue)
    return unpaused


def list_queues(system: System, op: ListQueues, now: int) -> tuple[str, ...]:
    """Names of the queues, sorted."""
    del op, now
    return tuple(sorted(system.queues))


def must_be_listed(system: System, queue: str) -> None:
    """Raise QueueNotFoundError for a queue that is not listed."""
    if queue not in system.queues:
        raise QueueNotFoundError(queue)


def get_queue_stats(system: System, op: GetQueueStats, now: int) -> QueueStats:
    """Statistics of a queue."""
    must_be_listed(system, op.queue)
    states = [task.state for task in system.of_queue(op.queue)]
    totals, today = system.queues[op.queue], system.days.get((op.queue, day(now)), Counters())
    pending = system.of_state(op.queue, TaskState.PENDING)
    groups = {task.group for task in system.of_state(op.queue, TaskState.AGGREGATING) if not task.set_id}
    return QueueStats(
        queue=op.queue,
        **{state.value: states.count(state) for state in TaskState},
        groups=len(groups),
        processed=today.processed,
        failed=today.failed,
        processed_total=totals.processed,
        failed_total=totals.failed,
        paused=op.queue in system.paused,
        latency=max((now - task.since for task in pending), default=0),
    )


def get_task(system: System, op: GetTask, now: int) -> StoredTask:
    """One task."""
    task = system.find(op.queue, op.task_id)
    if task is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    return system.stored(task, now)


def list_tasks(system: System, op: ListTasks, now: int) -> tuple[StoredTask, ...]:
    """One page of tasks of a state."""
    must_be_listed(system, op.queue)
    if op.state is TaskState.AGGREGATING:
        tasks = system.waiting(op.queue, op.group)
    else:
        tasks = system.of_state(op.queue, op.state)
    return tuple(system.stored(task, now) for task in tasks[op.offset : op.offset + op.limit])
