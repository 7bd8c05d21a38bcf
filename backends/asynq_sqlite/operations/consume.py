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
    from collections.abc import Iterator, Sequence

    from asynq.protocol.message import Delivery, Lease
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore


def dequeue(store: TaskStore, op: Dequeue, now: int) -> tuple[Delivery, ...]:
    """Take one task per order. Tasks that the token already holds come first."""
    taken = list(_held(store, op, now))
    wanted = op.orders[len(taken) :]
    for _ in range(MAX_BATCH):
        missing: list[tuple[str, ...]] = []
        for queue, orders in _chosen(store, op, wanted).items():
            found = _take(store, queue, len(orders), op, now)
            taken += found
            missing += orders[len(found) :]
        if not missing:
            break
        # Undecodable tasks were set aside: their places go to other tasks.
        wanted = tuple(missing)
    return tuple(taken)


def _chosen(
    store: TaskStore, op: Dequeue, orders: Sequence[tuple[str, ...]]
) -> dict[str, list[tuple[str, ...]]]:
    """Return the queues from which tasks are to be taken, each with the orders that it serves."""
    left = _without_tasks(store, {*chain.from_iterable(orders)})
    chosen: dict[str, list[tuple[str, ...]]] = {}
    for order in orders:
        for queue in order:
            if queue not in left:
                left[queue] = _available(store, queue, len(orders), op.limits.get(queue))
            if left[queue] > 0:
                left[queue] -= 1
                chosen.setdefault(queue, []).append(order)
                break
    return chosen


def _without_tasks(store: TaskStore, queues: set[str]) -> dict[str, int]:
    """Return 0 for each queue that is paused or empty. Of a few queues nothing is known yet."""
    if len(queues) < sweep.MIN_SWEEP:
        return {}
    ready = {queue for queue, paused in store.fetch(sweep.READY_QUERY) if not paused}
    return dict.fromkeys(queues - ready, 0)


def _available(store: TaskStore, queue: str, wanted: int, limit: int | None) -> int:
    """Return how many tasks can be taken from the queue, at most `wanted`."""
    if store.is_paused(queue):
        return 0
    if limit is not None:
        wanted = min(wanted, limit - store.active_count(queue))
    return store.pending_count(queue, wanted) if wanted > 0 else 0


def _held(store: TaskStore, op: Dequeue, now: int) -> Iterator[Delivery]:
    for row in store.held_by(op.token):
        # Damaged since it was taken: recovery archives it when its lease expires.
        with suppress(UndecodableError):
            yield delivery(row, decode(row), row.task.rank, op.token, now)


def _take(store: TaskStore, queue: str, number: int, op: Dequeue, now: int) -> list[Delivery]:
    """Take tasks from the head of the queue, and set aside those that cannot be decoded."""
    taken: list[TaskRow] = []
    deliveries: list[Delivery] = []
    expires_at = now + op.lease
    for row in store.pop_pending(queue, number):
        try:
            message = decode(row)
        except UndecodableError as error:
            log_set_aside(queue, store.set_aside(row, str(error), now), str(error))
            continue
        taken.append(row.task)
        since = row.pending_since if op.since else 0
        deliveries.append(delivery(row, message, expires_at, op.token, now, since=since))
    if taken:
        store.put_leases(taken, op.token, expires_at)
    for task in taken:
        store.release_lock(task, until=("start",))
    return deliveries


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
