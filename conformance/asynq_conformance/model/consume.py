"""Dequeue, ExtendLease, WriteResult."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import LeaseLostError
from asynq.protocol.message import Delivery
from asynq.protocol.ops import Dequeue, Extended, ExtendLease, WriteResult
from asynq.task_state import TaskState
from asynq_conformance.model import locks

if TYPE_CHECKING:
    from asynq.protocol.message import Lease
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System


def dequeue(system: System, op: Dequeue, now: int) -> tuple[Delivery, ...]:
    """Deliver the tasks that the token already holds, then one task for each remaining order."""
    taken = [
        task for task in system.tasks.values() if task.state is TaskState.ACTIVE and task.token == op.token
    ]
    since: dict[tuple[str, str], int] = {}
    for order in op.orders[len(taken) :]:
        for queue in order:
            if _may_take(system, op, queue):
                task = system.tasks[queue, system.pending[queue][0]]
                since[task.key] = task.since if op.since else 0
                until = system.choices.lapse(*task.key, now + op.lease)
                system.put(task, TaskState.ACTIVE, until, token=op.token)
                locks.start(system, task)
                locks.renew(system, task, op.lease, now)
                taken.append(task)
                break
    return tuple(_delivery(task, now, since.get(task.key, 0)) for task in taken)


def _may_take(system: System, op: Dequeue, queue: str) -> bool:
    active = len(system.of_state(queue, TaskState.ACTIVE))
    below_limit = queue not in op.limits or active < op.limits[queue]
    return bool(system.pending.get(queue)) and queue not in system.paused and below_limit


def _delivery(task: ModelTask, now: int, since: int) -> Delivery:
    return Delivery(
        message=task.message,
        token=task.token,
        expires_at=task.due,
        lease_losses=task.losses,
        cancel=task.cancel,
        delivered_at=now,
        pending_since=since,
    )


def owned(system: System, lease: Lease) -> ModelTask:
    """The active task that this lease holds; otherwise LeaseLostError."""
    task = system.find(lease.queue, lease.task_id)
    if task is None or task.state is not TaskState.ACTIVE or task.token != lease.token:
        raise LeaseLostError(lease.queue, lease.task_id)
    return task


def extend_lease(system: System, op: ExtendLease, now: int) -> Extended:
    """Extend the lease, never shorten it."""
    task = owned(system, op.lease)
    if now + op.duration > task.due:
        task.due = system.choices.lapse(*task.key, now + op.duration)
    locks.renew(system, task, op.duration, now)
    return Extended(expires_at=task.due, cancel=task.cancel)


def write_result(system: System, op: WriteResult, now: int) -> None:
    """Store the result."""
    del now
    owned(system, op.lease).result = op.result
