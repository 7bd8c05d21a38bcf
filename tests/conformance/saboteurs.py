"""Stores broken on purpose, each in one step, and the law that must notice.

A law that no broken store violates proves nothing; a store that breaks a promise and passes shows the law
that is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Factory, frozen

from asynq.message import TaskState
from asynq_sqlite.state import Lock, Place, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asynq.message import TaskMessage
    from asynq.ops import Unique
    from asynq_sqlite.rows import Row, Task


@frozen
class Saboteur:
    """A broken store, and one law with its parameters."""

    store: type[Store]
    law: str
    parameters: Mapping[str, Any] = Factory(dict)


SABOTEURS: list[Saboteur] = []


def caught_by(law: str, **parameters: Any) -> Callable[[type[Store]], type[Store]]:
    """Register a broken store with a law that catches it."""

    def register(store: type[Store]) -> type[Store]:
        SABOTEURS.append(Saboteur(store, law, parameters))
        return store

    return register


# --- order ----------------------------------------------------------------------------------------------


@caught_by("test_tasks_come_out_in_the_order_in_which_they_went_in")
@caught_by("test_a_batch_into_one_queue_keeps_its_order", size=50)
class LastInFirstOut(Store):
    def tail(self, queue: str, now: int) -> Place:
        return self.head(queue, now)


@caught_by("test_a_requeued_task_is_next_and_nothing_is_counted")
@caught_by("test_a_task_recovered_as_pending_is_next")
class RequeuesAtTheTail(Store):
    def head(self, queue: str, now: int) -> Place:
        return self.tail(queue, now)


@caught_by("test_due_tasks_go_to_the_tail_in_due_order")
class ForwardsBackwards(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return reversed(list(super().due(queue, now, limit)))


@caught_by("test_a_paused_queue_is_skipped")
class IgnoresPauses(Store):
    def is_paused(self, queue: str) -> bool:
        return False


@caught_by("test_one_queue_is_paused_and_no_other")
class PausesEverything(Store):
    def is_paused(self, queue: str) -> bool:
        return bool(self.fetch("SELECT 1 FROM paused"))


# --- leases ---------------------------------------------------------------------------------------------


@caught_by("test_a_stale_token_changes_nothing", settle="done")
@caught_by("test_a_stale_lease_cannot_be_extended")
@caught_by("test_a_stale_worker_writes_no_result")
class AcceptsAnyToken(Store):
    def check_token(self, task: Task, token: str) -> bool:
        return task.state == TaskState.ACTIVE


@caught_by("test_the_lost_worker_has_no_say_any_more", to="pending")
class ForgetsToEndTheLease(Store):
    def check_token(self, task: Task, token: str) -> bool:
        return task.lease_token in (token, None)


@caught_by("test_a_lapsed_lease_nobody_took_still_settles", settle="done")
class RefusesLapsedLeases(Store):
    def check_token(self, task: Task, token: str) -> bool:
        now = self.connection.execute("SELECT max(created_at) FROM tasks").fetchone()[0]
        return super().check_token(task, token) and task.rank > now + 60_000


@caught_by("test_an_extension_never_shortens_a_lease")
class ShortensLeases(Store):
    def extend_lease(self, task: Task, expires_at: int) -> int:
        self.connection.execute("UPDATE tasks SET rank = ? WHERE seq = ?", (expires_at, task.seq))
        return expires_at


@caught_by("test_an_extended_lease_lasts_from_now_on")
class ExtendsNothing(Store):
    def extend_lease(self, task: Task, expires_at: int) -> int:
        return expires_at


@caught_by("test_a_task_is_handed_out_once")
class HandsOutTwice(Store):
    def pop_pending(self, queue: str) -> Row | None:
        return super().pop_pending(queue) or next(iter(self.first(queue, TaskState.ACTIVE, 1)), None)


@caught_by("test_a_dequeue_sent_again_gets_what_it_already_holds")
@caught_by("test_a_full_dequeue_sent_again_takes_no_more")
class ForgetsWhatATokenHolds(Store):
    def held_by(self, token: str) -> list[Row]:
        return []


@caught_by("test_a_lease_is_lost_from_the_instant_it_ends", offset=-1, lost=False)
class RecoversTooEarly(Store):
    def lost(self, queue: str, now: int, limit: int) -> list[Row]:
        return super().lost(queue, now + 5, limit)


@caught_by("test_a_lease_is_lost_from_the_instant_it_ends", offset=0, lost=True)
class RecoversTooLate(Store):
    def lost(self, queue: str, now: int, limit: int) -> list[Row]:
        return super().lost(queue, now - 1, limit)


@caught_by("test_lost_leases_come_oldest_first_and_no_more_than_asked")
class ListsAllLosses(Store):
    def lost(self, queue: str, now: int, limit: int) -> list[Row]:
        return super().lost(queue, now, limit + 1)


# --- uniqueness -----------------------------------------------------------------------------------------


@caught_by("test_a_second_task_of_the_lock_is_a_duplicate_and_changes_nothing", unique="until done")
class TakesNoLock(Store):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        pass


@caught_by("test_the_lock_ends_with_its_time")
class LocksForEver(Store):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at * 2)


@caught_by("test_the_lock_ends_with_its_time")
class LocksForAnInstant(Store):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at - unique.ttl // 2)


@caught_by("test_the_lock_is_released_when_the_task_is_finished", way="done")
@caught_by("test_the_lock_is_released_when_the_task_is_finished", way="complete")
@caught_by("test_trimming_the_archive_releases_the_lock")
@caught_by("test_a_lock_until_start_is_released_when_a_worker_takes_the_task")
class KeepsLocks(Store):
    def release_lock(self, task: Task, until: tuple[str, ...] = ()) -> None:
        pass


@caught_by("test_a_task_whose_lock_ended_leaves_its_successors_alone", way="done")
@caught_by("test_a_purged_task_releases_no_lock_of_another")
@caught_by("test_a_started_task_leaves_its_successors_lock_alone", way="complete")
class ReleasesForeignLocks(Store):
    def release_lock(self, task: Task, until: tuple[str, ...] = ()) -> None:
        self.connection.execute("DELETE FROM locks WHERE name = ?", (task.unique_key,))


@caught_by("test_a_lock_until_expiry_outlives_its_task", way="done")
@caught_by("test_a_lock_until_expiry_outlives_its_trimmed_task")
class ReleasesEveryKindOfLock(Store):
    def release_lock(self, task: Task, until: tuple[str, ...] = ()) -> None:
        super().release_lock(task, ("done", "start", "expiry"))


@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="retry")
@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="archive")
@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="requeue")
@caught_by("test_the_lock_is_kept_when_the_task_may_run_again", way="recovered")
class ReleasesOnEveryMove(Store):
    def move(self, task: Task, place: Place, **columns: Any) -> None:
        super().move(task, place, **columns)
        self.release_lock(task)


@caught_by("test_a_kept_lock_lasts_through_a_retry")
@caught_by("test_a_kept_lock_lasts_as_long_as_its_run_is_extended")
class LetsKeptLocksExpire(Store):
    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        super().take_lock(message, unique, expires_at)
        self.connection.execute("UPDATE locks SET keep = 0")


@caught_by("test_the_same_type_in_another_queue_is_another_lock")
class KnowsOneLockOnly(Store):
    def lock_holder(self, name: str, now: int) -> Lock | None:
        held = self.fetch("SELECT queue, task_id, until FROM locks")
        return Lock._make(held[0]) if held else None


# --- time -----------------------------------------------------------------------------------------------


@caught_by("test_a_scheduled_task_moves_when_it_is_due_and_never_early", offset=-1, due=False)
class ForwardsTooEarly(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return super().due(queue, now + 5, limit)


@caught_by("test_a_scheduled_task_moves_when_it_is_due_and_never_early", offset=0, due=True)
@caught_by("test_a_retried_task_moves_when_it_is_due_and_never_early", offset=0, due=True)
class ForwardsTooLate(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return super().due(queue, now - 1, limit)


@caught_by("test_a_retried_task_moves_when_it_is_due_and_never_early", offset=0, due=True)
@caught_by("test_scheduled_and_retried_tasks_go_in_one_due_order")
class ForgetsRetries(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return [task for task in super().due(queue, now, limit) if task.state == TaskState.SCHEDULED]


@caught_by("test_no_more_move_than_asked_and_the_next_is_told")
@caught_by("test_every_due_task_moves_once_in_batches", size=120)
class ForwardsEverything(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return super().due(queue, now, limit * 100)


@caught_by("test_the_next_due_time_is_the_earlier_of_both_kinds")
class TellsNoDueTime(Store):
    def next_due(self, queue: str) -> int | None:
        return None


@caught_by("test_a_due_task_of_a_group_joins_its_group")
class ForwardsPastTheGroup(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        return [task._replace(group_name="") for task in super().due(queue, now, limit)]


@caught_by("test_a_retry_is_due_at_a_whole_second_rounded_up", offset=1)
@caught_by("test_a_retry_is_due_at_a_whole_second_rounded_up", offset=-1)
class KeepsMilliseconds(Store):
    def due_place(self, state: TaskState, instant: int) -> Place:
        return Place(state, instant)


@caught_by("test_a_retry_is_due_at_a_whole_second_rounded_up", offset=1)
@caught_by("test_a_completed_task_is_kept_with_its_result_until_its_retention_ends")
class RoundsDown(Store):
    def due_place(self, state: TaskState, instant: int) -> Place:
        return Place(state, instant // 1000 * 1000)


@caught_by("test_the_archive_is_trimmed_to_its_size_oldest_first")
@caught_by("test_archiving_trims_the_oldest_beyond_the_size", limit=1, left=["c"])
class NeverTrims(Store):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return 0


@caught_by("test_the_archive_is_trimmed_by_age", offset=-1000, old=False)
class TrimsTooEarly(Store):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return super().trim_archive(queue, max_size, max_age - 5000, limit, now)


@caught_by("test_the_archive_is_trimmed_by_age", offset=1000, old=True)
class TrimsBySizeAlone(Store):
    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        return super().trim_archive(queue, max_size, now, limit, now)


# --- counters and contents ------------------------------------------------------------------------------


@caught_by("test_a_done_task_is_gone_and_counted")
@caught_by("test_a_failed_task_waits_for_its_retry")
class CountsNothing(Store):
    def count(self, queue: str, now: int, *, failed: bool) -> None:
        pass


@caught_by("test_an_archived_task_is_kept_with_its_error_and_counted_as_failed")
@caught_by("test_a_loss_spends_a_retry_is_recorded_and_counted", to="pending")
class CountsNoFailures(Store):
    def count(self, queue: str, now: int, *, failed: bool) -> None:
        super().count(queue, now, failed=False)


@caught_by("test_a_done_task_is_gone_and_counted")
class CountsTwice(Store):
    def count(self, queue: str, now: int, *, failed: bool) -> None:
        super().count(queue, now, failed=failed)
        super().count(queue, now, failed=failed)


@caught_by("test_the_day_begins_anew_at_midnight_utc")
class CountsInOneEndlessDay(Store):
    def count(self, queue: str, now: int, *, failed: bool) -> None:
        super().count(queue, now, failed=failed)
        super().count(queue, now + 1000, failed=failed)


@caught_by("test_a_done_task_is_gone_and_counted")
@caught_by("test_an_id_is_free_again_when_its_task_is_done")
class DeletesNothing(Store):
    def delete(self, task: Task) -> None:
        self.move(task, Place(TaskState.COMPLETED, 0))


@caught_by("test_a_running_task_shows_its_progress")
class WritesNoResult(Store):
    def write_result(self, task: Task, result: bytes) -> None:
        pass


@caught_by("test_a_queue_is_listed_once_it_was_enqueued_to")
class ListsNoQueue(Store):
    def list_queue(self, queue: str) -> None:
        pass


@caught_by("test_an_id_that_is_taken_conflicts_and_nothing_changes", state=TaskState.PENDING)
@caught_by("test_an_enqueue_sent_again_is_the_same_success")
class OverwritesTasks(Store):
    def find(self, queue: str, task_id: str) -> Task | None:
        found = super().find(queue, task_id)
        if found is not None and found.state == TaskState.PENDING:
            self.delete(found)
            return None
        return found


@caught_by("test_losses_are_noted_with_the_task")
class ForgetsLosses(Store):
    def move(self, task: Task, place: Place, **columns: Any) -> None:
        columns.pop("lease_losses", None)
        super().move(task, place, **columns)


@caught_by("test_the_most_urgent_go_first_when_not_all_may")
class PrefersScheduled(Store):
    def due(self, queue: str, now: int, limit: int) -> Iterable[Task]:
        due = list(super().due(queue, now, 100))
        return sorted(due, key=lambda task: task.state != TaskState.SCHEDULED)[:limit]


@caught_by("test_waiting_is_measured_until_a_worker_takes_the_task")
class SeesNobodyWaiting(Store):
    def oldest_pending(self, queue: str) -> int | None:
        return None
