"""Brokers with defects in uniqueness."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from asynq.errors import TaskIDConflictError
from asynq.protocol.ops import Complete, Done, Enqueue, Requeue, Retry
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import HeldLock, Place, TaskStore

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Unique
    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_a_second_task_with_the_lock_is_a_duplicate_and_changes_nothing", bug=17, unique="until done")
class TakesNoLock(TaskStore):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        pass


@caught_by("test_the_lock_expires", bug=19)
class LocksForEver(TaskStore):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at * 2)


@caught_by("test_the_lock_expires", bug=18)
class LocksForAnInstant(TaskStore):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at - unique.ttl // 2)


@caught_by("test_the_lock_is_released_when_the_task_is_finished", bug=20, way="done")
@instead_of(Done)
def keeps_the_lock_of_the_done(correct: Any, store: TaskStore, op: Done, now: int) -> Any:
    with mock.patch.object(store, "release_lock"):
        return correct(store, op, now)


@caught_by("test_the_lock_is_released_when_the_task_is_finished", bug=21, way="complete")
@instead_of(Complete)
def keeps_the_lock_of_the_completed(correct: Any, store: TaskStore, op: Complete, now: int) -> Any:
    with mock.patch.object(store, "release_lock"):
        return correct(store, op, now)


@caught_by("test_trimming_the_archive_releases_the_lock")
@caught_by("test_a_lock_until_start_is_released_when_a_worker_takes_the_task")
class KeepsLocks(TaskStore):
    def release_lock(self, task: TaskRow, until: tuple[str, ...] = ()) -> None:
        pass


@caught_by("test_a_task_with_an_expired_lock_does_not_release_the_lock_of_its_successor", bug=24, way="done")
@caught_by("test_purging_a_task_keeps_the_lock_of_another")
@caught_by("test_a_started_task_does_not_release_the_lock_of_its_successor", way="complete")
class ReleasesForeignLocks(TaskStore):
    def release_lock(self, task: TaskRow, until: tuple[str, ...] = ()) -> None:
        self.connection.execute("DELETE FROM locks WHERE name = ?", (task.unique_key,))


@caught_by("test_a_lock_until_expiry_persists_after_its_run_ends", way="done")
@caught_by("test_a_lock_until_expiry_persists_after_its_task_is_trimmed")
class ReleasesEveryKindOfLock(TaskStore):
    def release_lock(self, task: TaskRow, until: tuple[str, ...] = ()) -> None:
        super().release_lock(task, ("done", "start", "expiry"))


def _then_releases(correct: Any, store: TaskStore, op: Retry | Requeue, now: int) -> None:
    correct(store, op, now)
    if (task := store.find(op.delivery.message.queue, op.delivery.message.id)) is not None:
        store.release_lock(task)


@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", bug=25, way="retry")
@instead_of(Retry)
def releases_the_lock_of_a_retry(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    _then_releases(correct, store, op, now)


@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", bug=26, way="requeue")
@instead_of(Requeue)
def releases_the_lock_of_the_requeued(correct: Any, store: TaskStore, op: Requeue, now: int) -> Any:
    _then_releases(correct, store, op, now)


@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="archive")
@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="recovered")
class ReleasesOnEveryMove(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        super().move(task, place, **columns)
        self.release_lock(task)


@caught_by("test_a_kept_lock_lasts_through_a_retry")
@caught_by("test_a_kept_lock_lasts_as_long_as_its_lease_is_extended")
class LetsKeptLocksExpire(TaskStore):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at)
        self.connection.execute("UPDATE locks SET keep = 0")


@caught_by("test_the_lock_is_specific_to_its_queue")
class KnowsOneLockOnly(TaskStore):
    def lock_holder(self, name: str, now: int) -> HeldLock | None:
        held = self.fetch("SELECT queue, task_id, until FROM locks")
        return HeldLock._make(held[0]) if held else None


@caught_by("test_the_locks_of_the_tasks_are_released", bug=23)
class KeepsLocksOfAggregatedTasks(TaskStore):
    def tasks_of_set(self, taken: AggregationSet) -> list[TaskRow]:
        return [task._replace(unique_key="") for task in super().tasks_of_set(taken)]


@caught_by("test_an_id_conflict_takes_no_lock", bug=27)
@instead_of(Enqueue)
def locks_though_the_id_conflicts(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskIDConflictError as error:
        if op.unique is not None:
            store.take_lock(op.message, op.unique, now + op.unique.ttl)
        # Returned and not raised: the lock that was taken is not released again.
        return error


@caught_by("test_the_latest_of_several_scheduled_tasks_remains")
class KeepsWhatIsReplaced(TaskStore):
    def displaced(self, holder: HeldLock | None) -> TaskRow | None:
        return None


@caught_by("test_a_duplicate_that_has_started_stays_and_loses_the_lock", state=TaskState.ACTIVE)
class ReplacesWhatHasStarted(TaskStore):
    def displaced(self, holder: HeldLock | None) -> TaskRow | None:
        return None if holder is None else self.find(holder.queue, holder.task_id)


@caught_by("test_a_waiting_duplicate_is_replaced", state=TaskState.PENDING)
class ReplacesScheduledTasksOnly(TaskStore):
    def displaced(self, holder: HeldLock | None) -> TaskRow | None:
        task = super().displaced(holder)
        return task if task is not None and task.state == TaskState.SCHEDULED else None


@caught_by("test_a_refused_id_replaces_nothing")
@instead_of(Enqueue)
def replaces_before_it_refuses(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskIDConflictError as error:
        if (task := store.displaced(store.lock_holder(op.message.unique_key, now))) is not None:
            store.delete([task])
        # Returned and not raised: what was deleted does not come back.
        return error
