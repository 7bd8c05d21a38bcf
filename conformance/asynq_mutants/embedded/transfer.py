"""Brokers with defects in the operations that move a task from one broker to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import structs

from asynq.errors import DuplicateTaskError, TaskIDConflictError, TaskStateError
from asynq.protocol.ops import (
    ClaimTransfer,
    ExportTask,
    ImportTask,
    MoveTasks,
    ReleaseTask,
    RunTask,
    UpdateTask,
)
from asynq.protocol.transfer import LockImage
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.operations.sequences import join
from asynq_sqlite.operations.transfer import parked_from, transfer_of
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from asynq.protocol.transfer import TaskImage
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import Place

PROGRAMS: Final = "programs transfer no tasks"
PENDING, RETRY, ARCHIVED = TaskState.PENDING, TaskState.RETRY, TaskState.ARCHIVED


@caught_by("test_a_parked_task_is_out_of_reach", state=PENDING, beyond_programs=PROGRAMS)
@caught_by("test_a_parked_task_is_exported_as_it_was_before", state=RETRY, beyond_programs=PROGRAMS)
class ParksNothing(TaskStore):
    def park(self, task: TaskRow, mark: str) -> None:
        """Leave the task where it is."""


@caught_by("test_an_export_without_parking_changes_nothing", state=PENDING, beyond_programs=PROGRAMS)
@instead_of(ExportTask)
def parks_always(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    return correct(store, structs.replace(op, park=True), now)


@caught_by("test_an_active_task_is_not_exported", park=True, beyond_programs=PROGRAMS)
@instead_of(ExportTask)
def parks_active_tasks(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and task.state == TaskState.ACTIVE:
        store.move(task, store.tail(op.queue, now))
    return correct(store, op, now)


@caught_by("test_a_task_of_a_held_set_is_not_exported", beyond_programs=PROGRAMS)
@instead_of(ExportTask)
def parks_tasks_of_sets(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and task.set_id:
        store.leave_set(task)
    return correct(store, op, now)


@caught_by("test_a_parent_is_exported_unless_a_server_holds_it", beyond_programs=PROGRAMS)
@instead_of(ExportTask)
def parks_held_parents(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskStateError as refused:
        task = store.find(op.queue, op.task_id)
        if task is None or refused.state is not TaskState.COMPLETED:
            raise
        store.move(task, store.due_place(TaskState.COMPLETED, now + 1000))
        return correct(store, op, now)


@caught_by(
    "test_a_task_is_not_exported_while_another_one_of_its_sequence_is_active",
    park=True,
    beyond_programs=PROGRAMS,
)
class KnowsNoHeads(TaskStore):
    def place_in_sequence(self, queue: str, task_id: str) -> int:
        del queue, task_id
        return 0


@caught_by("test_an_import_that_is_repeated_changes_nothing", state=PENDING, beyond_programs=PROGRAMS)
@caught_by("test_an_import_that_is_repeated_does_not_disturb_a_run", beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def imports_again(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    message = op.image.message
    present = store.find(message.queue, message.id)
    if present is not None and store.origin(present).enqueue_id == op.image.identity:
        store.delete([present])
    return correct(store, op, now)


@caught_by("test_another_task_of_the_id_is_not_overwritten", state=ARCHIVED, beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def overwrites_finished_tasks(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    present = store.find(op.image.message.queue, op.image.message.id)
    if present is not None and present.state == TaskState.ARCHIVED:
        store.delete([present])
    return correct(store, op, now)


@caught_by("test_an_image_of_other_content_is_a_conflict", beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def compares_only_ids(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskIDConflictError:
        return False


@caught_by("test_an_image_whose_lock_another_task_holds_is_refused", beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def takes_locks_of_others(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    try:
        return correct(store, op, now)
    except DuplicateTaskError:
        store.drop_lock(op.image.message.unique_key)
        return correct(store, op, now)


@caught_by("test_a_restored_task_is_due_when_it_was", state=RETRY, beyond_programs=PROGRAMS)
@caught_by("test_a_transferred_task_is_as_it_was", state=ARCHIVED, beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def forgets_times(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    image = op.image
    return correct(store, ImportTask(image=structs.replace(image, due_at=image.due_at and now)), now)


@caught_by("test_a_transferred_task_is_as_it_was", state=PENDING, beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def forgets_since_when_tasks_are_pending(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    return correct(store, ImportTask(image=structs.replace(op.image, pending_since=now)), now)


@caught_by("test_retries_errors_results_and_losses_are_kept", beyond_programs=PROGRAMS)
@caught_by("test_a_cancellation_is_kept", beyond_programs=PROGRAMS)
@caught_by("test_a_scheduled_task_still_joins_its_group", beyond_programs=PROGRAMS)
class ImportsMessagesOnly(TaskStore):
    def complete_import(self, image: TaskImage, mark: str) -> None:
        plain = structs.replace(image, result=None, lease_losses=0, cancel="", group="")
        super().complete_import(plain, mark)


@caught_by(
    "test_a_lock_ends_when_it_would_have_ended",
    until="done",
    state=PENDING,
    beyond_programs=PROGRAMS,
)
@instead_of(ImportTask)
def renews_locks(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    image = op.image
    if image.lock is not None:
        longer = structs.replace(image.lock, expires_in=image.lock.expires_in + 3600_000)
        image = structs.replace(image, lock=longer)
    return correct(store, ImportTask(image=image), now)


@caught_by(
    "test_an_imported_lock_is_released_by_what_released_it",
    until="expiry",
    running=True,
    done=True,
    runs=False,
    beyond_programs=PROGRAMS,
)
@instead_of(ImportTask)
def releases_every_lock_at_the_end(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    image = op.image
    if image.lock is not None:
        image = structs.replace(image, lock=LockImage(expires_in=image.lock.expires_in))
    return correct(store, ImportTask(image=image), now)


@caught_by("test_a_lock_is_held_while_its_task_is_parked", beyond_programs=PROGRAMS)
class ReleasesTheLocksOfParkedTasks(TaskStore):
    def park(self, task: TaskRow, mark: str) -> None:
        super().park(task, mark)
        self.release_lock(task)


@caught_by("test_a_task_whose_lock_has_ended_is_imported_without_it", beyond_programs=PROGRAMS)
class ExportsLocksOfOthers(TaskStore):
    def lock_of(self, task: TaskRow, now: int) -> tuple[int, Literal["done", "expiry", "start"], bool] | None:
        return super().lock_of(task, now) or ((now + 1000, "done", False) if task.unique_key else None)


@caught_by("test_only_a_parked_task_is_released", state=PENDING, beyond_programs=PROGRAMS)
@instead_of(ReleaseTask)
def deletes_any_task(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if op.to == "deleted" and task is not None and parked_from(task) is None:
        store.delete([task])
        return True
    return correct(store, op, now)


@caught_by("test_a_task_is_released_once", beyond_programs=PROGRAMS)
@instead_of(ReleaseTask)
def says_that_it_released_any_task(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    return correct(store, op, now) or store.find(op.queue, op.task_id) is not None


@caught_by("test_pending_tasks_keep_their_order", call=50, beyond_programs=PROGRAMS)
class RestoresTasksToTheHead(TaskStore):
    def tail(self, queue: str, now: int) -> Place:
        return self.head(queue, now) if self.parked(queue, 0, 1) else super().tail(queue, now)


@caught_by("test_a_parked_task_is_out_of_reach", state=TaskState.SCHEDULED, beyond_programs=PROGRAMS)
@instead_of(RunTask)
def runs_parked_tasks(correct: Any, store: TaskStore, op: RunTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and parked_from(task) is not None:
        store.move(task, store.tail(op.queue, now))
        return None
    return correct(store, op, now)


@caught_by("test_a_parked_task_is_out_of_reach", state=TaskState.SCHEDULED, beyond_programs=PROGRAMS)
@instead_of(MoveTasks)
def runs_all_parked_tasks(correct: Any, store: TaskStore, op: MoveTasks, now: int) -> Any:
    parked = store.parked(op.queue, 0, op.limit) if op.to == "pending" else ()
    for task_id in parked:
        if (task := store.find(op.queue, task_id)) is not None:
            store.move(task, store.tail(op.queue, now))
    return len(parked) + correct(store, op, now)


@caught_by("test_a_parked_task_is_out_of_reach", state=TaskState.SCHEDULED, beyond_programs=PROGRAMS)
@instead_of(UpdateTask)
def updates_parked_tasks(correct: Any, store: TaskStore, op: UpdateTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and parked_from(task) is not None:
        return None
    return correct(store, op, now)


@caught_by("test_a_transferred_sequence_runs_in_its_order", order="abc", beyond_programs=PROGRAMS)
@instead_of(ReleaseTask)
def restores_tasks_of_sequences_at_once(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if op.to == "restored" and task is not None and task.sequence and parked_from(task) is not None:
        store.move(task, store.tail(op.queue, now))
        return True
    return correct(store, op, now)


@caught_by("test_an_imported_task_waits_behind_the_sequence_of_the_destination", beyond_programs=PROGRAMS)
class ImportsIntoNoSequence(TaskStore):
    def complete_import(self, image: TaskImage, mark: str) -> None:
        super().complete_import(image, mark)
        if not image.finished and image.message.sequence:
            self.leave_sequence(image.message.queue, image.message.id)

    def join_sequence(self, queue: str, name: str, task_id: str) -> None:
        task = self.find(queue, task_id)
        if task is None or parked_from(task) is None:
            super().join_sequence(queue, name, task_id)


@caught_by("test_the_first_of_a_sequence_runs_although_it_waited", beyond_programs=PROGRAMS)
@instead_of(ReleaseTask)
def lets_every_restored_task_wait(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    answer = correct(store, op, now)
    if answer and op.to == "restored" and task is not None and task.sequence:
        restored = store.find(op.queue, op.task_id)
        if restored is not None and restored.state == TaskState.PENDING:
            store.move(restored, store.due_place(TaskState.SCHEDULED, 253_370_764_800_000))
    return answer


@caught_by("test_a_parked_finished_task_holds_up_no_sequence", beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def gives_finished_tasks_a_place(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    answer, message = correct(store, op, now), op.image.message
    if answer and op.image.finished and message.sequence:
        join(store, message.queue, message.sequence, message.id, now)
    return answer


@caught_by("test_an_import_lists_the_queue", beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def lists_no_queue(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    answer = correct(store, op, now)
    store.connection.execute("DELETE FROM queues WHERE name = ?", (op.image.message.queue,))
    store.listed.discard(op.image.message.queue)
    return answer


@caught_by("test_parked_tasks_are_listed_in_pages", beyond_programs=PROGRAMS)
class ListsEveryScheduledTaskAsParked(TaskStore):
    def parked(self, queue: str, offset: int, limit: int) -> tuple[str, ...]:
        tasks = self.first_tasks(queue, TaskState.SCHEDULED, offset + limit)
        return tuple(task.id for task in tasks[offset:])


CLAIMED = "test_a_transfer_that_lost_its_claim_changes_nothing"


@caught_by(CLAIMED, beyond_programs=PROGRAMS)
@instead_of(ExportTask)
def exports_without_the_claim(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    return correct(store, structs.replace(op, claim=""), now)


@caught_by(CLAIMED, beyond_programs=PROGRAMS)
@instead_of(ImportTask)
def imports_without_the_claim(correct: Any, store: TaskStore, op: ImportTask, now: int) -> Any:
    return correct(store, structs.replace(op, claim=""), now)


@caught_by(CLAIMED, beyond_programs=PROGRAMS)
@instead_of(ReleaseTask)
def releases_without_the_claim(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    return correct(store, structs.replace(op, claim=""), now)


@caught_by("test_a_renewal_takes_no_claim", beyond_programs=PROGRAMS)
@instead_of(ClaimTransfer)
def takes_a_lost_claim_again(correct: Any, store: TaskStore, op: ClaimTransfer, now: int) -> Any:
    return correct(store, structs.replace(op, renew=False), now)


@caught_by("test_a_claim_has_one_holder", beyond_programs=PROGRAMS)
@instead_of(ClaimTransfer)
def lets_everybody_claim(correct: Any, store: TaskStore, op: ClaimTransfer, now: int) -> Any:
    return correct(store, op, now) or correct(store, structs.replace(op, queue=f"{op.queue} too"), now)


def _by_its_own_transfer(store: TaskStore, op: ExportTask | ReleaseTask) -> ExportTask | ReleaseTask:
    """The operation as the transfer would send it that has parked the task."""
    task = store.find(op.queue, op.task_id)
    return (
        op if task is None or parked_from(task) is None else structs.replace(op, transfer=transfer_of(task))
    )


@caught_by(
    "test_a_parked_task_is_exported_by_its_transfer_only",
    again=True,
    other="",
    imported=True,
    beyond_programs=PROGRAMS,
)
@instead_of(ExportTask)
def exports_parked_imports(correct: Any, store: TaskStore, op: ExportTask, now: int) -> Any:
    return correct(store, _by_its_own_transfer(store, op), now)


@caught_by(
    "test_a_parked_task_is_released_by_its_transfer_only",
    other="another",
    imported=True,
    beyond_programs=PROGRAMS,
)
@instead_of(ReleaseTask)
def releases_for_any_transfer(correct: Any, store: TaskStore, op: ReleaseTask, now: int) -> Any:
    return correct(store, _by_its_own_transfer(store, op), now)
