"""Dequeue, ExtendLease and WriteResult."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from asynq.brokerkit.transitions import log_set_aside
from asynq.errors import LeaseLostError
from asynq.protocol.ops import MAX_BATCH, Dequeue, Extended, ExtendLease, WriteResult
from asynq_sqlite.store import free_space, sweep
from asynq_sqlite.store.rows import UndecodableError, decode, delivery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.message import Delivery, Lease
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore


def dequeue(store: TaskStore, op: Dequeue, now: int) -> tuple[Delivery, ...]:
    """Take one task per order. Tasks that the token already holds come first."""
    taken = list(_held(store, op, now))
    exhausted = _exhausted(store, {*chain.from_iterable(op.orders)})
    left = {queue: limit - store.active_count(queue) for queue, limit in op.limits.items()}
    for order in op.orders[len(taken) :]:
        for queue in order:
            if queue in exhausted or left.get(queue, 1) <= 0:
                continue
            found = _take(store, queue, op, now)
            if found is not None:
                taken.append(found)
                if queue in left:
                    left[queue] -= 1
                break
            exhausted.add(queue)
    return tuple(taken)


def _exhausted(store: TaskStore, queues: set[str]) -> set[str]:
    """Return the queues that are paused and, if there are many, those without pending tasks."""
    if len(queues) < sweep.MIN_SWEEP:
        return {queue for queue in queues if store.is_paused(queue)}
    return queues - {queue for queue, paused in store.fetch(sweep.READY_QUERY) if not paused}


def _held(store: TaskStore, op: Dequeue, now: int) -> Iterator[Delivery]:
    for row in store.held_by(op.token):
        # Damaged since it was taken: recovery archives it when its lease expires.
        with suppress(UndecodableError):
            yield delivery(row, decode(row), row.task.rank, op.token, now)


def _take(store: TaskStore, queue: str, op: Dequeue, now: int) -> Delivery | None:
    for _ in range(MAX_BATCH):
        row = store.pop_pending(queue)
        if row is None:
            return None
        try:
            message = decode(row)
        except UndecodableError as error:
            log_set_aside(queue, store.set_aside(row, str(error), now), str(error))
            continue
        expires_at = now + op.lease
        store.put_lease(row.task, op.token, expires_at)
        store.release_lock(row.task, until=("start",))
        return delivery(row, message, expires_at, op.token, now)
    return None


def extend_lease(store: TaskStore, op: ExtendLease, now: int) -> Extended:
    """Extend the lease if this run still holds it."""
    task = owned(store, op.lease)
    return Extended(expires_at=store.extend_lease(task, now + op.duration), cancel=task.cancel)


def write_result(store: TaskStore, op: WriteResult, now: int) -> None:  # noqa: ARG001 - a handler's signature
    """Store the result if this run still holds the task."""
    task = owned(store, op.lease)
    free_space.check_result(store, op.result)
    store.write_result(task, op.result)


def owned(store: TaskStore, lease: Lease) -> TaskRow:
    """Return the active task that this lease holds.

    Raises:
        LeaseLostError: The lease was lost.

    """
    task = store.find(lease.queue, lease.task_id)
    if task is None or not store.check_token(task, lease.token):
        raise LeaseLostError(lease.queue, lease.task_id)
    return task
