"""Stores with defects in inspection and control."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.errors import DuplicateTaskError
from asynq.protocol.ops import DeleteTask, DescribeBroker, UpdateTask
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_updating_a_payload_moves_the_lock")
class KeepsTheOldLock(TaskStore):
    def rename_lock(self, task: TaskRow, name: str) -> None:
        pass


@caught_by("test_updating_a_payload_changes_nothing_else", state=TaskState.SCHEDULED)
class RewritesNothing(TaskStore):
    def rewrite(self, task: TaskRow, message: TaskMessage) -> None:
        pass


@caught_by("test_a_rescheduled_task_is_due_at_its_new_time_only", state=TaskState.SCHEDULED, delay=3 * HOUR)
class ReschedulesNothing(TaskStore):
    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        pass


@caught_by("test_the_lock_of_a_scheduled_task_moves_with_its_due_time", until="done", delay=5 * HOUR)
class LeavesTheLockBehind(TaskStore):
    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        super().reschedule(task, due, "")


@caught_by("test_a_new_payload_takes_the_moved_lock_along")
class MovesTheLockOfTheOldPayload(TaskStore):
    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        super().reschedule(task, due, task.unique_key)


@caught_by("test_the_lock_of_a_retried_task_does_not_move")
class MovesEveryLock(TaskStore):
    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        super().reschedule(task._replace(state=TaskState.SCHEDULED), due, lock)


@caught_by("test_a_task_without_a_due_time_cannot_be_rescheduled", state=TaskState.PENDING, payload=None)
@instead_of(UpdateTask)
def takes_any_state(correct: Any, store: TaskStore, op: UpdateTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and task.state == TaskState.PENDING and op.process_in is not None:
        return store.move(task, store.due_place(TaskState.SCHEDULED, now + op.process_in))
    return correct(store, op, now)


@caught_by("test_a_refused_payload_leaves_the_due_time")
@instead_of(UpdateTask)
def reschedules_before_it_refuses(correct: Any, store: TaskStore, op: UpdateTask, now: int) -> Any:
    correct(store, replace(op, payload=None), now)
    try:
        return correct(store, op, now)
    except DuplicateTaskError as error:
        # Returned and not raised: the new due time is not undone.
        return error


@caught_by("test_extending_the_lease_of_a_cancelled_run_reports_the_cancellation", queue=None, then="archive")
class ForgetsCancellations(TaskStore):
    def mark_cancelled(self, task_id: str, queue: str | None, then: str) -> bool:
        return True


@caught_by("test_a_listener_receives_a_cancellation", queue=None, then="retry")
class MarksInSilence(TaskStore):
    def mark_cancelled(self, task_id: str, queue: str | None, then: str) -> bool:
        super().mark_cancelled(task_id, queue, then)
        return False


@caught_by("test_cancellation_does_not_affect_the_same_id_in_another_queue")
class CancelsInEveryQueue(TaskStore):
    def mark_cancelled(self, task_id: str, queue: str | None, then: str) -> bool:
        return super().mark_cancelled(task_id, None, then)


@caught_by("test_a_deleted_queue_leaves_nothing_behind", state=TaskState.ARCHIVED)
class LeavesThePause(TaskStore):
    def forget_queue(self, queue: str) -> None:
        super().forget_queue(queue)
        self.pause(queue, 0)


@caught_by("test_a_queue_that_is_being_deleted_delivers_no_task")
class DeletesAQueueInUse(TaskStore):
    def pause(self, queue: str, now: int) -> bool:
        return True


@caught_by("test_a_group_task_run_manually_does_not_rejoin_its_group_on_retry")
class RunsTasksInTheirGroup(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        columns.pop("group_name", None)
        super().move(task, place, **columns)


@caught_by("test_deleting_a_task_releases_its_lock", bug=22, state=TaskState.PENDING)
class KeepsLocksOfDeletedTasks(TaskStore):
    def delete(self, tasks: Sequence[TaskRow]) -> None:
        super().delete([task._replace(unique_key="") for task in tasks])


@caught_by("test_a_task_run_manually_is_appended_to_the_pending_tasks", bug=55, state=TaskState.ARCHIVED)
class LeavesRunTasksInTheArchive(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        if task.state == TaskState.ARCHIVED and place.state == TaskState.PENDING:
            self.connection.execute("UPDATE tasks SET cancel = '' WHERE seq = ?", (task.seq,))
        else:
            super().move(task, place, **columns)


@caught_by("test_a_queue_with_a_running_task_is_never_deleted")
class SeesNobodyRunning(TaskStore):
    def active_count(self, queue: str) -> int:
        return 0


@caught_by(
    "test_a_move_from_a_disallowed_state_is_refused_and_changes_nothing",
    bug=56,
    operation=DeleteTask,
    state=TaskState.ACTIVE,
)
@instead_of(DeleteTask)
def deletes_the_active(correct: Any, store: TaskStore, op: DeleteTask, now: int) -> Any:
    if (task := store.find(op.queue, op.task_id)) is not None:
        store.delete([task])


@caught_by(
    "test_a_broker_says_which_node_takes_the_writes_of_a_queue",
    beyond_programs="no program asks where queues are",
)
@instead_of(DescribeBroker)
def names_a_node_that_does_not_exist(correct: Any, store: TaskStore, op: DescribeBroker, now: int) -> Any:
    info = correct(store, op, now)
    return replace(info, places=tuple(replace(place, node="elsewhere") for place in info.places))


@caught_by(
    "test_a_broker_says_what_it_is_and_describes_its_nodes",
    beyond_programs="no program asks what the store is",
)
@instead_of(DescribeBroker)
def describes_no_node(correct: Any, store: TaskStore, op: DescribeBroker, now: int) -> Any:
    return replace(correct(store, op, now), nodes=())
