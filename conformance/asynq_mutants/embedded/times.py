"""Brokers with defects in due times and expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Complete, Dequeue, Enqueue, Forward, Ping, PurgeCompleted
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store import sweep
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_a_scheduled_task_is_forwarded_when_due_and_not_before", bug=37, offset=-1, due=False)
class ForwardsTooEarly(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return super().due(queue, now + 5, limit)


@caught_by("test_a_scheduled_task_is_forwarded_when_due_and_not_before", bug=38, offset=0, due=True)
@caught_by("test_a_retried_task_is_forwarded_when_due_and_not_before", offset=0, due=True)
class ForwardsTooLate(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return super().due(queue, now - 1, limit)


@caught_by("test_a_retried_task_is_forwarded_when_due_and_not_before", bug=39, offset=0, due=True)
@caught_by("test_scheduled_and_retried_tasks_are_forwarded_in_one_due_order")
class ForgetsRetries(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return [task for task in super().due(queue, now, limit) if task.state == TaskState.SCHEDULED]


@caught_by("test_forwarding_moves_no_more_than_its_limit_and_returns_the_next_due_time")
@caught_by("test_every_due_task_is_forwarded_once_in_batches", size=120)
class ForwardsEverything(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return super().due(queue, now, limit * 100)


@caught_by("test_the_next_due_time_covers_scheduled_and_retried_tasks")
class TellsNoDueTime(TaskStore):
    def next_due(self, queue: str) -> int | None:
        return None


@caught_by("test_a_due_task_with_a_group_joins_its_group", bug=42)
class ForwardsPastTheGroup(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return [task._replace(group_name="") for task in super().due(queue, now, limit)]


@caught_by("test_the_due_time_of_a_retry_is_rounded_up_to_a_whole_second", offset=1)
@caught_by("test_the_due_time_of_a_retry_is_rounded_up_to_a_whole_second", offset=-1)
class KeepsMilliseconds(TaskStore):
    def due_place(self, state: TaskState, instant: int) -> Place:
        return Place(state, instant)


@caught_by("test_the_due_time_of_a_retry_is_rounded_up_to_a_whole_second", offset=1)
@caught_by("test_a_completed_task_and_its_result_are_kept_for_the_retention")
class RoundsDown(TaskStore):
    def due_place(self, state: TaskState, instant: int) -> Place:
        return Place(state, instant // 1000 * 1000)


@caught_by("test_the_archive_is_trimmed_to_its_size_oldest_first")
@caught_by("test_archiving_trims_the_oldest_tasks_beyond_the_size", limit=1, left=["c"])
class NeverTrims(TaskStore):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return 0


@caught_by("test_the_earliest_and_latest_allowed_times_are_kept")
@instead_of(Enqueue)
def counts_seconds_in_32_bits(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    due = op.process_at if op.process_at is None else min(op.process_at, (2**31 - 1) * 1000)
    return correct(store, replace(op, process_at=due), now)


@caught_by("test_a_delivery_contains_its_time")
@instead_of(Dequeue)
def tells_when_the_task_was_taken_first(correct: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    taken = correct(store, op, now)
    return tuple(replace(delivery, delivered_at=delivery.expires_at - op.lease) for delivery in taken)


@caught_by("test_a_delivery_tells_since_when_its_task_was_pending")
@instead_of(Dequeue)
def tells_that_no_task_has_waited(correct: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    return tuple(replace(delivery, pending_since=now) for delivery in correct(store, op, now))


@caught_by("test_each_delivery_of_a_queue_tells_since_when_its_task_was_pending")
@instead_of(Dequeue)
def tells_how_long_one_task_of_each_queue_has_waited(
    correct: Any, store: TaskStore, op: Dequeue, now: int
) -> Any:
    taken = correct(store, op, now)
    last = {delivery.message.queue: delivery for delivery in taken}.values()
    return tuple(each if each in last else replace(each, pending_since=0) for each in taken)


@caught_by("test_a_task_that_ran_before_is_pending_since_it_is_due_again")
@instead_of(Forward)
def keeps_the_time_of_the_first_run(correct: Any, store: TaskStore, op: Forward, now: int) -> Any:
    answer = correct(store, op, now)
    store.connection.execute("UPDATE tasks SET pending_since = created_at WHERE state = 'pending'")
    return answer


@caught_by("test_a_reachable_broker_answers_a_ping")
@instead_of(Ping)
def tells_whole_seconds(correct: Any, store: TaskStore, op: Ping, now: int) -> Any:
    return correct(store, op, now) // 1000 * 1000


@caught_by("test_the_archive_is_trimmed_by_age", offset=-1000, old=False)
class TrimsTooEarly(TaskStore):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return super().trim_archive(queue, max_size, max_age - 5000, limit, now)


@caught_by("test_the_archive_is_trimmed_by_age", offset=1000, old=True)
class TrimsBySizeAlone(TaskStore):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return super().trim_archive(queue, max_size, now, limit, now)


@caught_by("test_every_due_task_is_forwarded_once_in_batches", bug=40, size=1)
class CopiesWhatItForwards(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        super().move(task, place, **columns)
        if task.state == TaskState.SCHEDULED and place.state == TaskState.PENDING:
            self.connection.execute("UPDATE tasks SET id = id || '~' WHERE seq = ?", (task.seq,))
            message = TaskMessage(id=task.id, type="type", queue=task.queue, payload=b"")
            origin = self.origin(task)
            enqueue = Enqueue(message=message, enqueue_id=origin.enqueue_id)
            self.insert(enqueue, Place(TaskState.SCHEDULED, task.rank), task.rank, origin.created_at)


@caught_by("test_every_due_task_is_forwarded_once_in_batches", bug=41, size=120)
class ForwardsOneBatch(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        behind = self.first_tasks(queue, TaskState.PENDING, limit)
        return [] if len(behind) >= limit else super().due(queue, now, limit)


@caught_by("test_a_completed_task_is_purged_when_its_retention_ends", bug=43, offset=-1, due=False)
@instead_of(PurgeCompleted)
def purges_early(correct: Any, store: TaskStore, op: PurgeCompleted, now: int) -> Any:
    return correct(store, op, now + 5)


@caught_by("test_a_purged_id_can_be_reused", bug=44)
@instead_of(PurgeCompleted)
def purges_the_place_only(correct: Any, store: TaskStore, op: PurgeCompleted, now: int) -> Any:
    ended = store.first_tasks(op.queue, TaskState.COMPLETED, op.limit, upto=now)
    for task in ended:
        store.connection.execute("UPDATE tasks SET state = 'gone' WHERE seq = ?", (task.seq,))
    return len(ended)


@caught_by("test_a_completed_task_and_its_result_are_kept_for_the_retention", bug=45)
@instead_of(Complete)
def ignores_the_retention(correct: Any, store: TaskStore, op: Complete, now: int) -> Any:
    message = replace(op.delivery.message, retention=0)
    return correct(store, replace(op, delivery=replace(op.delivery, message=message)), now)


@caught_by("test_maintenance_without_changes_sends_no_event")
@instead_of(Forward)
def tells_of_more_than_it_forwards(correct: Any, store: TaskStore, op: Forward, now: int) -> Any:
    answer = correct(store, op, now)
    return replace(answer, moved=answer.moved + 1)


@caught_by(
    "test_maintenance_of_many_queues_in_a_batch_equals_maintenance_of_each",
    beyond_programs="programs have few queues",
)
class ForgetsRetriesOfManyQueues(TaskStore):
    def fetch(self, sql: str, *values: Any) -> list[Any]:
        return [] if sql == sweep.DUE_QUERIES[1] else super().fetch(sql, *values)


@caught_by(
    "test_maintenance_of_many_queues_in_a_batch_equals_maintenance_of_each",
    beyond_programs="programs have few queues",
)
class OverlooksPendingTasksOfManyQueues(TaskStore):
    def fetch(self, sql: str, *values: Any) -> list[Any]:
        return [] if sql == sweep.READY_QUERY else super().fetch(sql, *values)
