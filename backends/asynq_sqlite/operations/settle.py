"""Done, Complete, Retry, Archive and Requeue: the settlement of runs, many at a time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from asynq.errors import LeaseLostError
from asynq.protocol.ops import MAX_BATCH, Archive, Complete, Done, Requeue, Retry
from asynq.task_state import TaskState
from asynq_sqlite.operations.attempt import attempt
from asynq_sqlite.operations.failures import failure_columns
from asynq_sqlite.operations.sequences import leave
from asynq_sqlite.store import free_space

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.protocol.message import Delivery
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import Place, TaskStore

Settlement = Done | Complete | Retry | Archive | Requeue


def settle(store: TaskStore, ops: Sequence[Settlement], now: int) -> list[Any]:
    """Settle runs. Their tasks are read at once; what is deleted and counted is written at once."""
    runs = _Runs(store, ops, now)
    answers = [attempt(store, op, _SETTLE[type(op)], runs, op) for op in ops]
    runs.write()
    return answers


class _Runs:
    """The tasks of settlements that are carried out together, as they are after those carried out so far."""

    def __init__(self, store: TaskStore, ops: Sequence[Settlement], now: int) -> None:
        self.store = store
        self.now = now
        messages = [op.delivery.message for op in ops]
        tasks = store.find_all([(message.queue, message.id) for message in messages])
        self._tasks = {(task.queue, task.id): task for task in tasks}
        self._done: list[TaskRow] = []
        self._counts: Counter[tuple[str, bool]] = Counter()

    def owned(self, delivery: Delivery) -> TaskRow:
        """Return the active task that this delivery holds.

        Raises:
            LeaseLostError: The lease was lost.

        """
        message = delivery.message
        task = self._tasks.get((message.queue, message.id))
        if task is None or not self.store.check_token(task, delivery.token):
            raise LeaseLostError(message.queue, message.id)
        return task

    def claim(self, delivery: Delivery, settled: TaskState) -> TaskRow | None:
        """Return the task to settle; None if it was settled by the same settlement before.

        The token that a settlement leaves with the task proves this. Whatever else ends the run, or moves the
        task on from the state `settled`, clears the token.
        """
        task = self._tasks.get((delivery.message.queue, delivery.message.id))
        if task is not None and task.state == settled and task.lease_token == delivery.token:
            return None
        return self.owned(delivery)

    def move(self, task: TaskRow, place: Place, token: str, **columns: Any) -> None:
        """Move the task and leave the token of its run with it."""
        self.store.move(task, place, lease_token=token, **columns)
        self._tasks[task.queue, task.id] = task._replace(state=place.state.value, lease_token=token)

    def delete(self, task: TaskRow) -> None:
        """Delete the task."""
        self._done.append(task)
        del self._tasks[task.queue, task.id]

    def count(self, queue: str, *, failed: bool) -> None:
        """Count one run as processed and, if `failed`, as failed."""
        self._counts[queue, failed] += 1

    def write(self) -> None:
        """Write what `delete` and `count` collected."""
        self.store.delete(self._done)
        for queue in {queue: None for queue, _ in self._counts}:
            failed = self._counts[queue, True]
            self.store.count(queue, self.now, runs=failed + self._counts[queue, False], failed=failed)


def _done(runs: _Runs, op: Done) -> None:
    """Delete the task and count the run."""
    task = runs.owned(op.delivery)
    runs.delete(task)
    leave(runs.store, task, runs.now)
    runs.count(op.delivery.message.queue, failed=False)


def _complete(runs: _Runs, op: Complete) -> None:
    """Keep the completed task for its retention."""
    task = runs.claim(op.delivery, TaskState.COMPLETED)
    if task is None:
        return
    columns: dict[str, Any] = {"completed_at": runs.now // 1000, "cancel": ""}
    if op.result is not None:
        free_space.check_result(runs.store, op.result)
        columns["result"] = op.result
    retained_until = runs.now + op.delivery.message.retention * 1000
    place = runs.store.due_place(TaskState.COMPLETED, retained_until)
    runs.move(task, place, op.delivery.token, **columns)
    runs.store.release_lock(task)
    leave(runs.store, task, runs.now)
    runs.count(task.queue, failed=False)


def _retry(runs: _Runs, op: Retry) -> None:
    """Schedule the next run of the task."""
    task = runs.claim(op.delivery, TaskState.RETRY)
    if task is None:
        return
    runs.move(
        task,
        runs.store.due_place(TaskState.RETRY, runs.now + op.delay),
        op.delivery.token,
        **failure_columns(runs.store, op, runs.now),
        cancel="archive" if task.cancel == "archive" else "",
    )
    if op.failure:
        runs.count(task.queue, failed=True)


def _archive(runs: _Runs, op: Archive) -> None:
    """Archive the failed task and trim the archive."""
    task = runs.claim(op.delivery, TaskState.ARCHIVED)
    if task is None:
        return
    runs.move(
        task,
        runs.store.archived_place(runs.now),
        op.delivery.token,
        **failure_columns(runs.store, op, runs.now),
        cancel="",
    )
    leave(runs.store, task, runs.now)
    runs.count(task.queue, failed=True)
    runs.store.trim_archive(task.queue, op.max_size, op.max_age, MAX_BATCH, runs.now)


def _requeue(runs: _Runs, op: Requeue) -> None:
    """Return the task to the head of its queue."""
    task = runs.claim(op.delivery, TaskState.PENDING)
    if task is not None:
        runs.move(task, runs.store.head(task.queue, runs.now), op.delivery.token)


_SETTLE: Final[dict[type[Settlement], Callable[[_Runs, Any], None]]] = {
    Done: _done,
    Complete: _complete,
    Retry: _retry,
    Archive: _archive,
    Requeue: _requeue,
}
