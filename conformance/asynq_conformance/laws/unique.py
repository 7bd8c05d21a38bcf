"""Laws of the uniqueness lock: who takes it, what releases it, and when it expires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from asynq.errors import DuplicateTaskError, TaskIDConflictError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery

UNTIL_DONE = ops.Unique(ttl=HOUR)
UNTIL_EXPIRY = ops.Unique(ttl=HOUR, until="expiry")
UNTIL_START = ops.Unique(ttl=HOUR, until="start")
KEPT = ops.Unique(ttl=MINUTE, keep=True)

Exit = Literal["done", "complete", "retry", "archive", "requeue", "recovered", "recovered to the archive"]
RELEASING: list[Exit] = ["done", "complete"]
KEEPING: list[Exit] = ["retry", "archive", "requeue", "recovered", "recovered to the archive"]


def leave(lab: Lab, delivery: Delivery, way: Exit) -> None:
    """End this run in one of the possible ways."""
    if way == "recovered":
        return lab.recover(delivery)
    if way == "recovered to the archive":
        return lab.recover(delivery, "archived")
    settlements: dict[str, ops.Op[None]] = {
        "done": ops.Done(delivery=delivery),
        "complete": ops.Complete(delivery=delivery),
        "retry": ops.Retry(delivery=delivery, delay=SECOND, error="e"),
        "archive": ops.Archive(delivery=delivery, error="e"),
        "requeue": ops.Requeue(delivery=delivery),
    }
    return lab.execute(settlements[way])


def enqueue_unique(
    lab: Lab, task_id: str, unique: ops.Unique = UNTIL_DONE, *, delay: int | None = None
) -> None:
    """Enqueue a task that requests the lock."""
    lab.enqueue(lab.message(task_id, lock=lock_name(), retention=60), unique=unique, delay=delay)


def is_held(lab: Lab) -> bool:
    """Whether the lock is held. The check takes it if it is free."""
    try:
        enqueue_unique(lab, lab.fresh(), delay=24 * HOUR)
    except DuplicateTaskError:
        return True
    return False


@promise("G4")
class UniqueLaws(Laws):
    """Uniqueness of tasks."""

    @pytest.mark.parametrize("unique", [UNTIL_DONE, UNTIL_EXPIRY, UNTIL_START, KEPT])
    @promise("G4", "G10")
    def test_a_second_task_with_the_lock_is_a_duplicate_and_changes_nothing(
        self, lab: Lab, unique: ops.Unique
    ) -> None:
        enqueue_unique(lab, "first", unique)
        before = lab.picture()
        with pytest.raises(DuplicateTaskError) as duplicate:
            enqueue_unique(lab, "second", unique)
        assert (duplicate.value.queue, duplicate.value.type) == ("q", "type")
        assert duplicate.value.task_id in ("first", "")
        assert lab.picture() == before
        assert lab.state("second") is None

    @pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.SCHEDULED, TaskState.AGGREGATING])
    def test_the_lock_is_taken_in_every_initial_state(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state, unique=UNTIL_DONE)
        assert is_held(lab)

    def test_a_task_without_a_lock_is_never_a_duplicate(self, lab: Lab) -> None:
        enqueue_unique(lab, "first")
        lab.enqueue("plain")
        assert lab.drain() == ["first", "plain"]

    def test_tasks_with_different_locks_are_no_duplicates(self, lab: Lab) -> None:
        enqueue_unique(lab, "first")
        lab.enqueue(lab.message("second", lock=lock_name(name="other")), unique=UNTIL_DONE)
        assert lab.drain() == ["first", "second"]

    def test_the_lock_is_specific_to_its_queue(self, lab: Lab) -> None:
        enqueue_unique(lab, "first")
        lab.enqueue(lab.message("first", "other", lock=lock_name("other")), unique=UNTIL_DONE)
        assert lab.drain("other") == ["first"]

    def test_one_of_several_unique_tasks_in_a_batch_succeeds(self, lab: Lab) -> None:
        operations = [
            ops.Enqueue(
                message=lab.message(f"t{number}", lock=lock_name()),
                enqueue_id=lab.fresh(),
                unique=UNTIL_DONE,
            )
            for number in range(60)
        ]
        answers = lab.execute_many(operations)
        assert sum(isinstance(answer, ops.Enqueued) for answer in answers) == 1
        assert sum(isinstance(answer, DuplicateTaskError) for answer in answers) == 59
        assert len(lab.drain()) == 1

    def test_a_repeated_enqueue_is_not_its_own_duplicate(self, lab: Lab) -> None:
        message = lab.message("t", lock=lock_name())
        lab.enqueue(message, unique=UNTIL_DONE, enqueue_id="mine")
        lab.enqueue(message, unique=UNTIL_DONE, enqueue_id="mine")
        assert lab.drain() == ["t"]

    @promise("G4", "G10")
    def test_an_id_conflict_takes_no_lock(self, lab: Lab) -> None:
        lab.enqueue("taken")
        with pytest.raises(TaskIDConflictError):
            enqueue_unique(lab, "taken")
        assert not is_held(lab)

    # --- exits --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("way", RELEASING)
    def test_the_lock_is_released_when_the_task_is_finished(self, lab: Lab, way: Exit) -> None:
        enqueue_unique(lab, "t")
        delivery = lab.take()
        leave(lab, delivery, way)
        assert not is_held(lab)

    @pytest.mark.parametrize("way", KEEPING)
    def test_the_lock_is_kept_when_the_task_may_run_again(self, lab: Lab, way: Exit) -> None:
        enqueue_unique(lab, "t")
        delivery = lab.take()
        leave(lab, delivery, way)
        assert is_held(lab)

    def test_the_lock_is_kept_while_the_task_runs(self, lab: Lab) -> None:
        enqueue_unique(lab, "t")
        lab.take()
        assert is_held(lab)

    def test_the_lock_of_a_forwarded_task_is_released_when_it_is_done(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", delay=SECOND)
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert is_held(lab)
        lab.execute(ops.Done(delivery=lab.take()))
        assert not is_held(lab)

    def test_trimming_the_archive_releases_the_lock(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=UNTIL_DONE)
        lab.execute(ops.TrimArchive(queue="q", max_size=0))
        assert not is_held(lab)

    def test_archiving_beyond_the_size_releases_the_locks_of_trimmed_tasks(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=UNTIL_DONE)
        lab.advance(SECOND)
        lab.enqueue("next")
        lab.execute(ops.Archive(delivery=lab.take(), error="e", max_size=1))
        assert lab.listed(TaskState.ARCHIVED) == ["next"]
        assert not is_held(lab)

    def test_a_replaced_task_passes_its_lock_to_its_replacement(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=UNTIL_DONE)
        message = lab.message("t", lock=lock_name())
        lab.enqueue(message, unique=UNTIL_DONE, on_conflict="replace_finished")
        assert is_held(lab)
        lab.execute(ops.Done(delivery=lab.take()))
        assert not is_held(lab)

    def test_replacing_a_task_by_one_without_a_lock_releases_the_lock(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=UNTIL_DONE)
        lab.enqueue("t", on_conflict="replace_finished")
        assert not is_held(lab)

    @promise("G4", "G10")
    def test_a_duplicate_replacement_changes_nothing(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "finished")
        enqueue_unique(lab, "holder")
        before = lab.picture()
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(
                lab.message("finished", lock=lock_name()), unique=UNTIL_DONE, on_conflict="replace_finished"
            )
        assert lab.picture() == before

    def test_purging_a_task_keeps_the_lock_of_another(self, lab: Lab) -> None:
        enqueue_unique(lab, "first")
        lab.execute(ops.Complete(delivery=lab.take()))
        enqueue_unique(lab, "second")
        lab.advance(2 * MINUTE)
        assert lab.execute(ops.PurgeCompleted(queue="q")) == 1
        assert is_held(lab)

    # --- the end of its time --------------------------------------------------------------------------

    def test_the_lock_expires(self, lab: Lab) -> None:
        enqueue_unique(lab, "t")
        lab.advance(HOUR - lab.harness.lock_precision)
        assert is_held(lab)
        lab.advance(lab.harness.lock_precision)
        assert not is_held(lab)

    def test_the_lock_of_a_scheduled_task_expires_relative_to_its_due_time(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", delay=HOUR)
        lab.advance(2 * HOUR - SECOND)
        assert is_held(lab)
        lab.advance(2 * SECOND)
        assert not is_held(lab)

    @pytest.mark.parametrize("way", RELEASING)
    def test_a_task_with_an_expired_lock_does_not_release_the_lock_of_its_successor(
        self, lab: Lab, way: Exit
    ) -> None:
        enqueue_unique(lab, "first")
        delivery = lab.take()
        lab.advance(HOUR)
        enqueue_unique(lab, "second")
        leave(lab, delivery, way)
        assert is_held(lab)

    # --- until ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("way", RELEASING + KEEPING)
    def test_a_lock_until_expiry_persists_after_its_run_ends(self, lab: Lab, way: Exit) -> None:
        enqueue_unique(lab, "t", UNTIL_EXPIRY)
        delivery = lab.take()
        leave(lab, delivery, way)
        lab.advance(HOUR - 2 * MINUTE)
        assert is_held(lab)
        lab.advance(2 * MINUTE)
        assert not is_held(lab)

    def test_a_lock_until_expiry_persists_after_its_task_is_trimmed(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=UNTIL_EXPIRY)
        lab.execute(ops.TrimArchive(queue="q", max_size=0))
        assert is_held(lab)

    def test_a_lock_until_start_is_held_while_the_task_waits(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", UNTIL_START)
        assert is_held(lab)

    def test_a_lock_until_start_is_released_when_a_worker_takes_the_task(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", UNTIL_START)
        lab.take()
        assert not is_held(lab)

    @pytest.mark.parametrize("way", RELEASING + KEEPING)
    def test_a_started_task_does_not_release_the_lock_of_its_successor(self, lab: Lab, way: Exit) -> None:
        enqueue_unique(lab, "first", UNTIL_START)
        delivery = lab.take()
        enqueue_unique(lab, "second")
        leave(lab, delivery, way)
        assert is_held(lab)

    # --- keep -----------------------------------------------------------------------------------------

    def test_a_kept_lock_lasts_as_long_as_its_lease_is_extended(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", KEPT)
        delivery = lab.take()
        for _ in range(10):
            lab.advance(20 * SECOND)
            lab.execute(ops.ExtendLease(lease=delivery.lease, duration=30 * SECOND))
            assert is_held(lab)

    def test_a_kept_lock_lasts_until_a_distant_retry(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", KEPT)
        lab.execute(ops.Retry(delivery=lab.take(), delay=2 * HOUR, error="e"))
        lab.advance(2 * HOUR)
        assert is_held(lab)

    def test_a_kept_lock_lasts_through_a_retry(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", KEPT)
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        lab.advance(HOUR + SECOND)
        lab.execute(ops.Forward(queue="q"))
        delivery = lab.take()
        lab.advance(20 * SECOND)
        assert is_held(lab)
        lab.execute(ops.Done(delivery=delivery))
        assert not is_held(lab)

    @pytest.mark.parametrize(("to", "delay", "then"), [("pending", 0, 50 * SECOND), ("retry", HOUR, HOUR)])
    def test_a_kept_lock_lasts_through_a_recovery(
        self, lab: Lab, to: Literal["pending", "retry"], delay: int, then: int
    ) -> None:
        enqueue_unique(lab, "t", KEPT)
        lost = lab.lose_worker(lab.take(lease=30 * SECOND))
        lab.advance(50 * SECOND)
        lab.execute(ops.Recover(lost=lost, to=to, error="lost", delay=delay))
        lab.advance(then)
        assert is_held(lab)

    def test_a_lock_until_start_is_not_taken_again_by_a_recovery(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", ops.Unique(ttl=MINUTE, until="start", keep=True))
        lab.recover(lab.take())
        assert not is_held(lab)

    def test_a_kept_lock_lasts_at_least_as_long_as_the_lease(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", KEPT)
        lab.take(lease=HOUR)
        lab.advance(HOUR - SECOND)
        assert is_held(lab)

    def test_a_lock_until_start_is_not_taken_again_by_a_retry(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", ops.Unique(ttl=MINUTE, until="start", keep=True))
        lab.execute(ops.Retry(delivery=lab.take(), delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert not is_held(lab)

    def test_a_kept_lock_ends_when_its_task_is_done(self, lab: Lab) -> None:
        enqueue_unique(lab, "t", KEPT)
        lab.execute(ops.Done(delivery=lab.take()))
        assert not is_held(lab)

    def test_extending_a_kept_lock_never_takes_it_from_another_task(self, lab: Lab) -> None:
        enqueue_unique(lab, "first", KEPT)
        delivery = lab.take()
        lab.advance(HOUR)
        # The lock was not extended in time: a backend may free it, or keep it while the task exists.
        passed_on = not is_held(lab)
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=30 * SECOND))
        lab.execute(ops.Done(delivery=delivery))
        assert is_held(lab) is passed_on
