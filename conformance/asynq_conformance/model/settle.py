"""Done, Complete, Retry, Archive, Requeue: settlements of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.protocol.failures import (
    FAILURES_HEADER,
    LARGEST_WITH_FAILURES,
    MAX_FAILURES,
    Failure,
    failures_of,
    header_of,
    kept_text,
)
from asynq.protocol.ops import MAX_BATCH, Archive, Complete, Done, Requeue, Retry
from asynq.protocol.value_sizes import message_size
from asynq.task_state import TaskState
from asynq_conformance.model import locks
from asynq_conformance.model.consume import owned
from asynq_conformance.model.records import whole_second

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System


def _to_settle(system: System, delivery: Delivery, settled: TaskState) -> ModelTask | None:
    """The task that this delivery owns; None if this settlement has already taken effect."""
    task = system.find(delivery.message.queue, delivery.message.id)
    if task is not None and (task.state, task.token) == (settled, delivery.token):
        return None
    return owned(system, delivery.lease)


def fail(task: ModelTask, error: str, now: int, *, spent: int, to: TaskState | None, began: int = 0) -> None:
    """Record a failure of the task, which began at an instant. `to`: None if the attempt does not count."""
    message = task.message
    failed = replace(message, error=error, last_failed_at=now // 1000, retried=message.retried + spent)
    if to is not None and message_size(message) <= LARGEST_WITH_FAILURES:
        known = failures_of(message)
        attempt = Failure(
            max(message.retried, known[-1].number if known else 0) + 1,
            now,
            to,
            kept_text(error),
            now - began if began else None,
        )
        history = header_of([*known, attempt][-MAX_FAILURES:])
        failed = replace(failed, headers={**message.headers, FAILURES_HEADER: history})
    task.message = failed


def done(system: System, op: Done, now: int) -> None:
    """Delete the task and count the run."""
    task = owned(system, op.delivery.lease)
    system.delete(task)
    system.advance(task.message, now)
    system.count(task.message.queue, now, failed=False)


def complete(system: System, op: Complete, now: int) -> None:
    """Keep the finished task for its retention."""
    task = _to_settle(system, op.delivery, TaskState.COMPLETED)
    if task is None:
        return
    task.message = replace(task.message, completed_at=now // 1000)
    task.cancel = ""
    if op.result is not None:
        task.result = op.result
    until = whole_second(now) + task.message.retention * 1000
    system.put(task, TaskState.COMPLETED, until, token=op.delivery.token)
    system.advance(task.message, now)
    system.release(task)
    system.count(task.message.queue, now, failed=False)


def retry(system: System, op: Retry, now: int) -> None:
    """Schedule the next run of the task."""
    task = _to_settle(system, op.delivery, TaskState.RETRY)
    if task is None:
        return
    began = op.delivery.delivered_at
    to = TaskState.RETRY if op.failure else None
    fail(task, op.error, now, spent=int(op.failure), to=to, began=began)
    task.cancel = "archive" if task.cancel == "archive" else ""
    system.put(task, TaskState.RETRY, whole_second(now + op.delay), token=op.delivery.token)
    locks.renew(system, task, op.delay, now)
    if op.failure:
        system.count(task.message.queue, now, failed=True)


def archive(system: System, op: Archive, now: int) -> None:
    """Archive the failed task, and trim the archive."""
    task = _to_settle(system, op.delivery, TaskState.ARCHIVED)
    if task is None:
        return
    fail(task, op.error, now, spent=0, to=TaskState.ARCHIVED, began=op.delivery.delivered_at)
    task.cancel = ""
    system.put(task, TaskState.ARCHIVED, whole_second(now), token=op.delivery.token)
    system.advance(task.message, now)
    system.count(task.message.queue, now, failed=True)
    system.trim(task.message.queue, op.max_size, op.max_age, MAX_BATCH, now)


def requeue(system: System, op: Requeue, now: int) -> None:
    """Put the task back at the head of the queue."""
    task = _to_settle(system, op.delivery, TaskState.PENDING)
    if task is not None:
        system.put_pending(task, now, head=True, token=op.delivery.token)
        locks.renew(system, task, 0, now)
