"""How each operation is carried out. Its law is its docstring in `asynq.ops`, and is not repeated here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import DecodeError

from asynq import errors, ops
from asynq.bookkeeping import message_after, scheduled_for, whole_second
from asynq.message import Delivery, LostLease, QueueStats, StoredTask, TaskState
from asynq_lmdb.records import FINISHED, Lock, Task, encode, message_of

if TYPE_CHECKING:
    from asynq.message import Lease
    from asynq_lmdb.records import Queue
    from asynq_lmdb.store import Store


# --- produce


def enqueue(store: Store, op: ops.Enqueue) -> ops.Enqueued:
    message, unique = op.message, op.unique
    if message.group:
        raise errors.UnsupportedOperationError("groups", "lmdb")
    if present := store.find(message.queue, message.id):
        if present.enqueue_id == op.enqueue_id:
            return ops.Enqueued(state=present.answer[0], due_at=present.answer[1])
        if op.on_conflict == "reject" or present.state not in FINISHED:
            raise errors.TaskIDConflictError(message.queue, message.id, present.state)
        store.delete(present)
    if unique and (held := store.lock(message.unique_key)):
        # The broker undoes what the operation has done so far: an error changes nothing.
        raise errors.DuplicateTaskError(message.queue, message.type, held.task_id)
    due = scheduled_for(op, store.now)
    if unique:
        ends = (due or store.now) + unique.ttl
        store.take_lock(Lock(message.unique_key, message.queue, message.id, ends, unique.until, unique.keep))
    state, rank = (TaskState.SCHEDULED, due) if due else (TaskState.PENDING, store.tail(message.queue))
    store.queue(message.queue).listed = True
    answer = (state, due or store.now)
    task = Task(
        message.queue, message.id, state, rank, encode(message), op.enqueue_id, answer, message.unique_key
    )
    task.since = 0 if due else store.now
    store.put(task)
    return ops.Enqueued(state=state, due_at=due or store.now)


# --- consume


def dequeue(store: Store, op: ops.Dequeue) -> tuple[Delivery, ...]:
    # A copy of the call begins with what the first one took.
    taken = [delivery for task in store.held(op.token) if (delivery := _delivery(task))]
    for order in op.orders[len(taken) :]:
        found = (_take(store, queue, op) for queue in order if _may_take(store, queue, op))
        if delivery := next(filter(None, found), None):
            taken.append(delivery)
    return tuple(taken)


def _may_take(store: Store, queue: str, op: ops.Dequeue) -> bool:
    record = store.queue(queue)
    return not record.paused and record.sizes.get(TaskState.ACTIVE, 0) < op.limits.get(queue, sys.maxsize)


def _take(store: Store, queue: str, op: ops.Dequeue) -> Delivery | None:
    for _ in range(ops.MAX_BATCH):  # a bound on how much damage one call sets aside
        if not (tasks := store.first(queue, TaskState.PENDING, 1)):
            return None
        if store.message(tasks[0]):
            task = store.move(tasks[0], TaskState.ACTIVE, store.now + op.lease, op.token)
            store.release(task, "start")
            return _delivery(task)
    return None


def _delivery(task: Task) -> Delivery | None:
    try:
        message = message_of(task.message)
    except DecodeError:
        return None  # damaged since it was taken: recovery sets it aside
    return Delivery(message=message, token=task.token, expires_at=task.rank, lease_losses=task.losses)


def extend_lease(store: Store, op: ops.ExtendLease) -> ops.Extended:
    task = _owned(store, op.lease)
    until = max(task.rank, store.now + op.duration)
    store.move(task, task.state, until, task.token)
    return ops.Extended(expires_at=until)


def write_result(store: Store, op: ops.WriteResult) -> None:
    task = _owned(store, op.lease)
    store.move(task, task.state, task.rank, task.token, result=op.result)


def _owned(store: Store, lease: Lease) -> Task:
    task = store.find(lease.queue, lease.task_id)
    if task is None or not store.owns(task, lease.token):
        raise errors.LeaseLostError(lease.queue, lease.task_id)
    return task


# --- settle


def done(store: Store, op: ops.Done) -> None:
    task = _owned(store, op.delivery.lease)
    store.delete(task)
    store.count(task.queue, failed=False)


def _settle(store: Store, op: Settlement, state: TaskState, rank: int, **changes: Any) -> Task | None:
    """Move the task on, or answer None to a copy: the token that stays with the task proves it is one."""
    delivery = op.delivery
    task = store.find(delivery.message.queue, delivery.message.id)
    if task and (task.state, task.token) == (state, delivery.token):
        return None
    changes["message"] = encode(message_after(op, store.now))
    return store.move(_owned(store, delivery.lease), state, rank, delivery.token, **changes)


def complete(store: Store, op: ops.Complete) -> None:
    ends = whole_second(store.now + op.delivery.message.retention * 1000)
    changes = {} if op.result is None else {"result": op.result}
    if task := _settle(store, op, TaskState.COMPLETED, ends, **changes):
        store.release(task, "done", "start")
        store.count(task.queue, failed=False)


def retry(store: Store, op: ops.Retry) -> None:
    task = _settle(store, op, TaskState.RETRY, whole_second(store.now + op.delay))
    if task and op.failure:
        store.count(task.queue, failed=True)


def archive(store: Store, op: ops.Archive) -> None:
    if task := _settle(store, op, TaskState.ARCHIVED, whole_second(store.now)):
        store.count(task.queue, failed=True)
        store.trim(task.queue, op.max_size, op.max_age, ops.MAX_BATCH)


def requeue(store: Store, op: ops.Requeue) -> None:
    _settle(store, op, TaskState.PENDING, store.head(op.delivery.message.queue))


# --- upkeep


def forward(store: Store, op: ops.Forward) -> ops.Forwarded:
    waiting = (TaskState.SCHEDULED, TaskState.RETRY)
    due = [task for state in waiting for task in store.first(op.queue, state, op.limit, upto=store.now)]
    for task in (moved := sorted(due, key=lambda task: task.rank)[: op.limit]):
        store.move(task, TaskState.PENDING, store.tail(op.queue))
    following = [task.rank for state in waiting for task in store.first(op.queue, state, 1)]
    return ops.Forwarded(moved=len(moved), next_due=min(following, default=None))


def list_lost_leases(store: Store, op: ops.ListLostLeases) -> ops.LostLeases:
    lost = [
        (task, store.message(task))
        for task in store.first(op.queue, TaskState.ACTIVE, op.limit, upto=store.now)
    ]
    return ops.LostLeases(
        leases=tuple(
            LostLease(message=message, observed=_observed(task), lease_losses=task.losses)
            for task, message in lost
            if message
        ),
        set_aside=tuple(task.id for task, message in lost if not message),
    )


def _observed(task: Task) -> str:
    return f"{task.rank} {task.token}"


def recover(store: Store, op: ops.Recover) -> bool:
    queue = op.lost.message.queue
    task = store.find(queue, op.lost.message.id)
    if task is None or task.state is not TaskState.ACTIVE or _observed(task) != op.lost.observed:
        return False
    rank = (
        store.head(queue) if op.to == "pending" else whole_second(store.now + op.delay * (op.to == "retry"))
    )
    message = encode(message_after(op, store.now))
    store.move(task, TaskState(op.to), rank, message=message, losses=task.losses + 1)
    store.count(queue, failed=True)
    if op.to == "archived":
        store.trim(queue, op.max_size, op.max_age, ops.MAX_BATCH)
    return True


def adopt_orphans(store: Store, op: ops.AdoptOrphans) -> ops.Adopted:  # noqa: ARG001 - a handler's signature
    return ops.Adopted(adopted=0, dropped=0, cursor=0)  # a task and its lease are one record: there are none


def purge_completed(store: Store, op: ops.PurgeCompleted) -> int:
    store.sweep_locks(op.limit)
    ended = store.first(op.queue, TaskState.COMPLETED, op.limit, upto=store.now)
    for task in ended:
        store.delete(task)
    return len(ended)


def trim_archive(store: Store, op: ops.TrimArchive) -> int:
    return store.trim(op.queue, op.max_size, op.max_age, op.limit)


# --- control


def ping(store: Store, op: ops.Ping) -> None:  # noqa: ARG001 - the transaction is what was asked for
    return None


def pause(store: Store, op: ops.PauseQueue | ops.UnpauseQueue) -> bool:
    record, wanted = store.queue(op.queue), isinstance(op, ops.PauseQueue)
    changed, record.paused = record.paused is not wanted, wanted
    return changed


def list_queues(store: Store, op: ops.ListQueues) -> tuple[str, ...]:  # noqa: ARG001 - a handler's signature
    return tuple(sorted(queue.name for queue in store.queues() if queue.listed))


def get_queue_stats(store: Store, op: ops.GetQueueStats) -> QueueStats:
    queue = _listed(store, op.queue)
    # In order the heads come first, which are few, and then the oldest of the others.
    waiting = [task.since for task in store.first(op.queue, TaskState.PENDING, ops.MAX_BATCH)]
    (processed, failed), (all_processed, all_failed) = store.runs(op.queue).values()
    return QueueStats(
        queue=op.queue,
        **{state.value: queue.sizes.get(state, 0) for state in TaskState},
        processed=processed,
        failed=failed,
        processed_total=all_processed,
        failed_total=all_failed,
        paused=queue.paused,
        latency=max(store.now - min(waiting, default=store.now), 0),
    )


def _listed(store: Store, queue: str) -> Queue:
    if not (record := store.queue(queue)).listed:
        raise errors.QueueNotFoundError(queue)
    return record


def get_task(store: Store, op: ops.GetTask) -> StoredTask:
    task = store.find(op.queue, op.task_id)
    if task is None or (stored := _stored(store, task)) is None:
        raise errors.TaskNotFoundError(op.queue, op.task_id)
    return stored


def list_tasks(store: Store, op: ops.ListTasks) -> tuple[StoredTask, ...]:
    _listed(store, op.queue)
    page = store.first(op.queue, op.state, op.limit, offset=op.offset)
    return tuple(stored for task in page if (stored := _stored(store, task)))


def _stored(store: Store, task: Task) -> StoredTask | None:
    try:
        message = message_of(task.message)
    except DecodeError:
        return None
    return StoredTask(
        message=message,
        state=task.state,
        due_at=0 if task.state is TaskState.PENDING else task.rank,
        result=task.result,
        pending_since=task.since,
        orphaned=task.state is TaskState.ACTIVE and task.rank <= store.now,
    )


Settlement = ops.Complete | ops.Retry | ops.Archive | ops.Requeue
Handler = Callable[["Store", Any], Any]

HANDLERS: dict[type[ops.Op[Any]], Handler] = {
    ops.Enqueue: enqueue, ops.Dequeue: dequeue, ops.ExtendLease: extend_lease, ops.WriteResult: write_result,
    ops.Done: done, ops.Complete: complete, ops.Retry: retry, ops.Archive: archive, ops.Requeue: requeue,
    ops.Forward: forward, ops.ListLostLeases: list_lost_leases, ops.Recover: recover,
    ops.AdoptOrphans: adopt_orphans, ops.PurgeCompleted: purge_completed, ops.TrimArchive: trim_archive,
    ops.Ping: ping, ops.PauseQueue: pause, ops.UnpauseQueue: pause, ops.ListQueues: list_queues,
    ops.GetQueueStats: get_queue_stats, ops.GetTask: get_task, ops.ListTasks: list_tasks,
}  # fmt: skip
