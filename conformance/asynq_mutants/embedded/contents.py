"""Brokers that miscount, lose data, or keep data too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from msgspec.structs import replace

from asynq.errors import TaskIDConflictError
from asynq.protocol.ops import Archive, Done, Enqueue, GetQueueStats, Retry
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_a_done_task_is_removed_and_counted", bug=50)
@instead_of(Done)
def does_not_count_the_done(correct: Any, store: TaskStore, op: Done, now: int) -> Any:
    with mock.patch.object(store, "count"):
        return correct(store, op, now)


@caught_by("test_a_failed_task_waits_for_its_retry", bug=52)
@instead_of(Retry)
def counts_no_retry(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    with mock.patch.object(store, "count"):
        return correct(store, op, now)


@caught_by("test_an_archived_task_is_kept_with_its_error_and_counted_as_failed", bug=51)
@instead_of(Archive)
def counts_no_archived_failure(correct: Any, store: TaskStore, op: Archive, now: int) -> Any:
    def count(queue: str, now: int, *, runs: int, failed: int) -> None:
        TaskStore.count(store, queue, now, runs=runs, failed=0)

    with mock.patch.object(store, "count", count):
        return correct(store, op, now)


@caught_by("test_an_archived_task_is_kept_with_its_error_and_counted_as_failed")
@caught_by("test_a_loss_uses_a_retry_and_is_recorded_and_counted", to="pending")
class CountsNoFailures(TaskStore):
    def count(self, queue: str, now: int, *, runs: int, failed: int) -> None:
        super().count(queue, now, runs=runs, failed=0)


@caught_by("test_a_done_task_is_removed_and_counted")
class CountsTwice(TaskStore):
    def count(self, queue: str, now: int, *, runs: int, failed: int) -> None:
        super().count(queue, now, runs=runs, failed=failed)
        super().count(queue, now, runs=runs, failed=failed)


@caught_by("test_daily_counters_start_again_at_midnight_utc")
class CountsInOneEndlessDay(TaskStore):
    def count(self, queue: str, now: int, *, runs: int, failed: int) -> None:
        super().count(queue, now, runs=runs, failed=failed)
        super().count(queue, now + 1000, runs=runs, failed=failed)


@caught_by("test_a_done_task_is_removed_and_counted", bug=49)
@caught_by("test_an_id_can_be_reused_when_its_task_is_done")
class DeletesNothing(TaskStore):
    def delete(self, tasks: Sequence[TaskRow]) -> None:
        for task in tasks:
            self.move(task, Place(TaskState.COMPLETED, 0))


@caught_by("test_a_result_written_during_a_run_is_visible")
class WritesNoResult(TaskStore):
    def write_result(self, task: TaskRow, result: bytes) -> None:
        pass


@caught_by("test_a_queue_is_listed_after_its_first_enqueue")
class ListsNoQueue(TaskStore):
    def list_queue(self, queue: str) -> None:
        pass


@caught_by("test_an_id_conflict_changes_nothing", bug=46, state=TaskState.PENDING)
@caught_by("test_a_repeated_enqueue_succeeds_with_the_same_answer")
class OverwritesTasks(TaskStore):
    def insert(self, op: Enqueue, place: Place, scheduled_for: int, now: int) -> bool:
        found = self.find(op.message.queue, op.message.id)
        if found is not None and found.state == TaskState.PENDING:
            self.delete([found])
        return super().insert(op, place, scheduled_for, now)


@caught_by("test_losses_are_recorded_with_the_task")
class ForgetsLosses(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        columns.pop("lease_losses", None)
        super().move(task, place, **columns)


@caught_by("test_a_limited_forwarding_moves_the_earliest_due_tasks")
class PrefersScheduled(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        due = list(super().due(queue, now, 100))
        return sorted(due, key=lambda task: task.state != TaskState.SCHEDULED)[:limit]


@caught_by("test_the_waiting_time_ends_when_a_worker_takes_the_task")
class SeesNobodyWaiting(TaskStore):
    def oldest_pending(self, queue: str) -> int | None:
        return None


@caught_by("test_a_batch_into_one_queue_keeps_its_order", bug=47, size=50)
class DropsEveryFifth(TaskStore):
    def insert(self, op: Enqueue, place: Place, scheduled_for: int, now: int) -> bool:
        inserted = super().insert(op, place, scheduled_for, now)
        self.connection.execute("DELETE FROM tasks WHERE seq = last_insert_rowid() AND seq % 5 = 0")
        return inserted


@caught_by("test_one_of_several_concurrent_unique_enqueues_succeeds", bug=48)
class EnqueuesUniqueTasksTwice(TaskStore):
    def insert(self, op: Enqueue, place: Place, scheduled_for: int, now: int) -> bool:
        if op.unique is not None:
            again = replace(op, message=replace(op.message, id=op.message.id + "~"))
            super().insert(again, place, scheduled_for, now)
        return super().insert(op, place, scheduled_for, now)


@caught_by("test_a_retry_that_is_not_a_failure_changes_no_counter", bug=53)
@instead_of(Retry)
def counts_every_retry(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    return correct(store, replace(op, failure=True), now)


@caught_by("test_an_archived_task_is_kept_with_its_error_and_counted_as_failed", bug=54)
@instead_of(Archive)
def loses_what_it_archives(correct: Any, store: TaskStore, op: Archive, now: int) -> Any:
    correct(store, op, now)
    if (task := store.find(op.delivery.message.queue, op.delivery.message.id)) is not None:
        store.delete([task])


@caught_by("test_an_id_conflict_changes_nothing", bug=57, state=TaskState.PENDING)
@instead_of(Enqueue)
def counts_what_it_refuses(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskIDConflictError as error:
        store.count(op.message.queue, now, runs=1, failed=1)
        # Returned and not raised: what was counted is not undone.
        return error


@caught_by("test_inspection_changes_nothing", bug=58, state=TaskState.COMPLETED)
@instead_of(GetQueueStats)
def drops_when_it_looks(correct: Any, store: TaskStore, op: GetQueueStats, now: int) -> Any:
    store.delete(store.first_tasks(op.queue, TaskState.COMPLETED, 1))
    return correct(store, op, now)
