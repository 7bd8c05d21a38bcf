"""Brokers with defects in sequences."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asynq.protocol.ops import (
    MAX_BATCH,
    Advanced,
    AdvanceSequences,
    Archive,
    Complete,
    DeleteQueue,
    DeleteTask,
    Done,
    Enqueue,
    Enqueued,
    MoveTasks,
    Recover,
    Retry,
    RunTask,
)
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.operations.sequences import leave, waits
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_sqlite.store.rows import TaskRow


@contextmanager
def _nobody_next(store: TaskStore) -> Iterator[None]:
    """For the time being, no sequence has a first task."""
    store.first_of_sequence = lambda _queue, _name: None  # type: ignore[assignment,method-assign]
    try:
        yield
    finally:
        del store.first_of_sequence


@caught_by("test_a_sequence_delivers_one_task_at_a_time", bug=79)
@instead_of(Enqueue)
def runs_a_sequence_at_once(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    answer = correct(store, op, now)
    task = store.find(op.message.queue, op.message.id)
    if task is None or not waits(task):
        return answer
    store.move(task, store.tail(task.queue, now))
    return Enqueued(state=TaskState.PENDING, due_at=now)


@caught_by("test_a_finished_task_that_is_run_again_joins_the_tail", bug=80, end="complete")
@caught_by("test_a_replaced_task_joins_the_tail")
class JoinsBehindTheHead(TaskStore):
    def join_sequence(self, queue: str, name: str, task_id: str) -> None:
        first = self.fetch("SELECT min(place) FROM sequences WHERE queue = ? AND name = ?", queue, name)[0][0]
        self.connection.execute("UPDATE sequences SET place = -place * 2 WHERE place > ?", (first or 0,))
        self.connection.execute("UPDATE sequences SET place = -place WHERE place < 0")
        self.connection.execute(
            "INSERT OR REPLACE INTO sequences VALUES (?, ?, ?, ?)", ((first or 0) + 1, queue, name, task_id)
        )


@caught_by("test_the_end_of_a_run_lets_the_next_task_run", bug=81, end="done")
@instead_of(Done)
def done_leaves_the_next_task_waiting(correct: Any, store: TaskStore, op: Done, now: int) -> Any:
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_the_end_of_a_run_lets_the_next_task_run", end="complete")
@instead_of(Complete)
def complete_leaves_the_next_task_waiting(correct: Any, store: TaskStore, op: Complete, now: int) -> Any:
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_the_end_of_a_run_lets_the_next_task_run", end="archive")
@instead_of(Archive)
def archive_leaves_the_next_task_waiting(correct: Any, store: TaskStore, op: Archive, now: int) -> Any:
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_a_recovered_task_keeps_its_place_unless_it_is_archived", to="archived", after="pending")
@instead_of(Recover)
def recover_leaves_the_next_task_waiting(correct: Any, store: TaskStore, op: Recover, now: int) -> Any:
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_removing_the_head_lets_the_next_task_run", bug=82, remove="delete")
@instead_of(DeleteTask)
def deletion_leaves_the_next_task_waiting(correct: Any, store: TaskStore, op: DeleteTask, now: int) -> Any:
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_a_task_that_runs_again_keeps_its_place", bug=83, stay="retry")
@instead_of(Retry)
def a_retried_task_loses_its_turn(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    answer = correct(store, op, now)
    task = store.find(op.delivery.message.queue, op.delivery.message.id)
    if task is not None:
        leave(store, task, now)
    return answer


@caught_by("test_a_waiting_task_cannot_be_run", bug=84)
@instead_of(RunTask)
def runs_a_waiting_task(correct: Any, store: TaskStore, op: RunTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is None or not waits(task):
        return correct(store, op, now)
    return store.move(task, store.tail(task.queue, now))


@caught_by("test_a_finished_task_that_is_run_again_joins_the_tail", end="archive")
@instead_of(RunTask)
def runs_a_finished_task_beside_its_sequence(correct: Any, store: TaskStore, op: RunTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is None or task.state not in (TaskState.ARCHIVED, TaskState.COMPLETED):
        return correct(store, op, now)
    return store.move(task, store.tail(task.queue, now))


@caught_by("test_bulk_runs_leave_waiting_tasks_alone")
@instead_of(MoveTasks)
def runs_waiting_tasks_in_bulk(correct: Any, store: TaskStore, op: MoveTasks, now: int) -> Any:
    answer = correct(store, op, now)
    if op.to == "pending":
        for task in store.first_tasks(op.queue, op.state, op.limit):
            store.move(task, store.tail(task.queue, now))
    return answer


@caught_by("test_bulk_runs_find_tasks_that_are_due_later_than_those_that_wait")
class TakesWaitingTasksForTheLast(TaskStore):
    def first_not_waiting(self, queue: str, limit: int) -> list[TaskRow]:
        return [task for task in self.first_tasks(queue, TaskState.SCHEDULED, limit) if not waits(task)]


@caught_by("test_bulk_runs_find_tasks_that_are_due_when_others_wait", at=WAITING, how="enqueued")
@caught_by("test_bulk_runs_find_tasks_that_are_due_when_others_wait", at=WAITING, how="updated")
class LetsPlainTasksWait(TaskStore):
    """A plain task can be due at the instant that marks those that wait."""

    def insert(self, op: Enqueue, place: Place, scheduled_for: int, now: int) -> bool:
        rank = WAITING if place.rank == WAITING + 1000 else place.rank
        return super().insert(op, place._replace(rank=rank), scheduled_for, now)

    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        super().reschedule(task, WAITING if due == WAITING + 1000 else due, lock)


@caught_by("test_bulk_removal_of_waiting_tasks_leaves_the_head", to="deleted")
@caught_by("test_bulk_removal_of_waiting_tasks_leaves_the_head", to="archived")
@instead_of(MoveTasks)
def spares_waiting_tasks_in_bulk(correct: Any, store: TaskStore, op: MoveTasks, now: int) -> Any:
    store.first_tasks = lambda *which: [  # type: ignore[method-assign]
        task for task in TaskStore.first_tasks(store, *which) if not waits(task)
    ]
    try:
        return correct(store, op, now)
    finally:
        del store.first_tasks


@caught_by("test_bulk_removal_of_heads_lets_the_next_tasks_run", state=TaskState.PENDING, to="deleted")
@caught_by("test_bulk_removal_of_heads_lets_the_next_tasks_run", state=TaskState.RETRY, to="archived")
@instead_of(MoveTasks)
def bulk_removal_leaves_the_next_tasks_waiting(
    correct: Any, store: TaskStore, op: MoveTasks, now: int
) -> Any:
    if op.to == "pending":
        return correct(store, op, now)
    with _nobody_next(store):
        return correct(store, op, now)


@caught_by("test_bulk_runs_of_finished_tasks_join_them_in_order", end="archive")
@instead_of(MoveTasks)
def bulk_runs_of_finished_tasks_pass_their_sequence_by(
    correct: Any, store: TaskStore, op: MoveTasks, now: int
) -> Any:
    if op.to != "pending" or op.state not in (TaskState.ARCHIVED, TaskState.COMPLETED):
        return correct(store, op, now)
    tasks = store.first_tasks(op.queue, op.state, op.limit)
    for task in tasks:
        store.move(task, store.tail(task.queue, now))
    return len(tasks)


@caught_by("test_advancing_lets_the_tasks_run_whose_head_is_gone")
@instead_of(AdvanceSequences)
def advances_nothing(correct: Any, store: TaskStore, op: AdvanceSequences, now: int) -> Any:
    del correct, now
    names = store.sequences_after(op.queue, op.cursor, op.limit)
    cursor = names[-1] if len(names) == op.limit else ""
    return Advanced(promoted=0, examined=len(names), cursor=cursor)


@caught_by("test_advancing_pages_through_the_sequences_by_name")
class BeginsEachPageAtTheStart(TaskStore):
    def sequences_after(self, queue: str, name: str, limit: int) -> list[str]:
        return super().sequences_after(queue, "", limit)


@caught_by("test_a_deletion_that_is_not_finished_leaves_only_sequences_with_tasks", others=2)
@instead_of(DeleteQueue)
def a_deletion_in_steps_leaves_places(correct: Any, store: TaskStore, op: DeleteQueue, now: int) -> Any:
    store.leave_sequence = lambda _queue, _task_id: None  # type: ignore[assignment,method-assign]
    try:
        return correct(store, op, now)
    finally:
        del store.leave_sequence


@caught_by(
    "test_removing_the_first_tasks_at_once_lets_the_next_one_run",
    remove="delete",
    beyond_programs="no sequence of a program is that long",
)
class LooksAtFiftyPlaces(TaskStore):
    """Of a sequence whose first tasks are deleted in one transaction, the next one waits."""

    _deleted = 0

    def delete(self, tasks: Any) -> None:
        super().delete(tasks)
        self._deleted += 1

    def first_of_sequence(self, queue: str, name: str) -> str | None:
        return None if self._deleted == MAX_BATCH else super().first_of_sequence(queue, name)
