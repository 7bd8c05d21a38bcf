"""Laws of what belongs to a task that is moved to another broker: its lock, its sequence, its members."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from asynq.errors import DuplicateTaskError, LeaseLostError, TaskStateError
from asynq.protocol import ops
from asynq.protocol.sequences import MEMBERS_HEADER
from asynq.protocol.transfer import LockImage
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, LEASE, MINUTE, SECOND, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.laws.sequences import enqueue as enqueue_sequence
from asynq_conformance.laws.sequences import states
from asynq_conformance.laws.transfer import export, pending_image, release, take_over, transfer
from asynq_conformance.laws.unique import UNTIL_DONE, is_held
from asynq_conformance.promises import promise


@promise("G1", "G10")
class TransferredBelongingsLaws(Laws):
    """Locks, sequences and joins of tasks that are transferred."""

    # --- locks ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("until", ["done", "expiry", "start"])
    @pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.SCHEDULED, TaskState.ARCHIVED])
    @promise("G4")
    def test_a_lock_ends_when_it_would_have_ended(self, lab: Lab, until: Any, state: TaskState) -> None:
        if (until, state) == ("start", TaskState.ARCHIVED):
            pytest.skip("its start has released the lock")
        lab.bring(state, unique=ops.Unique(ttl=HOUR, until=until))
        end = lab.now + HOUR + (HOUR if state is TaskState.SCHEDULED else 0)
        lab.advance(10 * MINUTE)
        transfer(lab, "t")
        lab.advance_to(end - SECOND - lab.harness.lock_precision)
        assert is_held(lab)
        lab.advance_to(end + SECOND + lab.harness.lock_precision)
        assert not is_held(lab)

    @promise("G4")
    def test_a_lock_is_held_while_its_task_is_parked(self, lab: Lab) -> None:
        lab.bring(TaskState.PENDING, unique=UNTIL_DONE)
        export(lab)
        assert is_held(lab)
        release(lab, to="deleted")
        assert not is_held(lab)

    @pytest.mark.parametrize("until", ["done", "expiry", "start"])
    @promise("G4")
    def test_an_image_states_the_lock(self, lab: Lab, until: Any) -> None:
        lab.bring(TaskState.PENDING, unique=ops.Unique(ttl=HOUR, until=until))
        lab.advance(10 * MINUTE)
        lock = export(lab).lock
        assert lock is not None
        assert (lock.until, lock.keep) == (until, 0)
        assert 50 * MINUTE - lab.harness.lock_precision - SECOND <= lock.expires_in <= 50 * MINUTE + SECOND

    @pytest.mark.parametrize(
        ("until", "running", "done"), [("done", True, False), ("expiry", True, True), ("start", False, False)]
    )
    @pytest.mark.parametrize("runs", [True, False])
    @promise("G4")
    def test_an_imported_lock_is_released_by_what_released_it(
        self, lab: Lab, until: Any, running: bool, done: bool, runs: bool
    ) -> None:
        lock = LockImage(expires_in=HOUR, until=until)
        take_over(lab, pending_image(lab.message(lock=lock_name()), lock=lock))
        release(lab)
        delivery = lab.take()
        if not runs:
            lab.execute(ops.Done(delivery=delivery))
        assert is_held(lab) is (running if runs else done)

    @promise("G4")
    def test_a_kept_lock_outlasts_the_steps_of_its_task(self, lab: Lab) -> None:
        lab.bring(TaskState.RETRY, unique=ops.Unique(ttl=10 * MINUTE, keep=True))
        transfer(lab, "t")
        lab.advance_to(lab.task().due_at - SECOND - lab.harness.lock_precision)
        assert is_held(lab)
        lab.advance(2 * SECOND + lab.harness.lock_precision)
        lab.execute(ops.Forward(queue="q"))
        delivery = lab.take(lease=3 * HOUR)
        lab.advance(3 * HOUR - SECOND - lab.harness.lock_precision)
        assert is_held(lab)
        lab.execute(ops.Done(delivery=delivery))
        assert not is_held(lab)

    @promise("G4", "G10")
    def test_an_image_whose_lock_another_task_holds_is_refused(self, lab: Lab) -> None:
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)
        before = lab.picture()
        image = pending_image(lab.message(lock=lock_name()), lock=LockImage(expires_in=HOUR))
        with pytest.raises(DuplicateTaskError) as duplicate:
            take_over(lab, image)
        assert duplicate.value.task_id == "u"
        assert lab.picture() == before
        lab.execute(ops.DeleteTask(queue="q", task_id="u"))
        assert take_over(lab, image)
        with pytest.raises(DuplicateTaskError) as duplicate:
            lab.enqueue(lab.message("v", lock=lock_name()), unique=UNTIL_DONE)
        assert duplicate.value.task_id == "t"

    @promise("G4")
    def test_a_task_whose_lock_has_ended_is_imported_without_it(self, lab: Lab) -> None:
        lab.bring(TaskState.PENDING, unique=ops.Unique(ttl=SECOND))
        lab.advance(3 * SECOND + lab.harness.lock_precision)
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)
        assert export(lab).lock is None
        transfer(lab, "t")
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        assert is_held(lab)

    # --- sequences and joins ----------------------------------------------------------------------------

    @promise("G7")
    def test_a_sequence_stands_still_while_its_head_is_parked(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b", "c")
        export(lab, "a")
        lab.execute(ops.AdvanceSequences(queue="q"))
        assert lab.dequeue() == ()
        assert states(lab, "b", "c") == ["waiting", "waiting"]
        release(lab, "a")
        assert states(lab, "a", "b", "c") == ["pending", "waiting", "waiting"]

    @pytest.mark.parametrize("order", ["abc", "cba", "bca"])
    @promise("G7")
    def test_a_transferred_sequence_runs_in_its_order(self, lab: Lab, order: str) -> None:
        enqueue_sequence(lab, "a", "b", "c")
        images = {task_id: export(lab, task_id) for task_id in order}
        assert sorted(images, key=lambda task_id: images[task_id].place) == ["a", "b", "c"]
        for task_id in "cba":
            release(lab, task_id, "deleted")
        for task_id in "abc":
            take_over(lab, images[task_id])
        enqueue_sequence(lab, "d")
        for task_id in order:
            release(lab, task_id)
        assert states(lab, "a", "b", "c", "d") == ["pending", "waiting", "waiting", "waiting"]
        run: list[str] = []
        while taken := lab.dequeue(count=4):
            assert len(taken) == 1
            run.append(taken[0].message.id)
            lab.execute(ops.Done(delivery=taken[0]))
        assert run == ["a", "b", "c", "d"]

    @promise("G7")
    def test_an_imported_task_waits_behind_the_sequence_of_the_destination(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b")
        image = export(lab, "a")
        release(lab, "a", "deleted")
        take_over(lab, image)
        release(lab, "a")
        assert states(lab, "b", "a") == ["pending", "waiting"]
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.take().message.id == "a"

    @promise("G7")
    def test_the_first_of_a_sequence_runs_although_it_waited(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b")
        export(lab, "b")
        lab.execute(ops.DeleteTask(queue="q", task_id="a"))
        assert lab.dequeue() == ()
        lab.advance(MINUTE)
        release(lab, "b")
        assert (lab.task("b").state, lab.task("b").pending_since) == (TaskState.PENDING, lab.now)
        assert lab.take().message.id == "b"

    @promise("G7")
    def test_the_head_of_a_sequence_keeps_its_retry(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="failed"))
        before = lab.task("a")
        transfer(lab, "a")
        # Its place was given to the next one.
        assert states(lab, "b") == ["pending"]
        lab.execute(ops.DeleteTask(queue="q", task_id="b"))
        assert states(lab, "a") == ["pending"]
        assert before.state is TaskState.RETRY

    @promise("G7")
    def test_a_restored_head_keeps_its_retry(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="failed"))
        before = lab.picture()
        export(lab, "a")
        release(lab, "a")
        assert lab.picture() == before

    @pytest.mark.parametrize("park", [True, False])
    @promise("G7")
    def test_a_task_is_not_exported_while_another_one_of_its_sequence_is_active(
        self, lab: Lab, park: bool
    ) -> None:
        enqueue_sequence(lab, "a", "b")
        delivery = lab.take()
        with pytest.raises(TaskStateError) as refused:
            export(lab, "b", park=park)
        assert refused.value.state is TaskState.SCHEDULED
        lab.execute(ops.Done(delivery=delivery))
        assert export(lab, "b").state is TaskState.PENDING

    def test_a_finished_task_of_a_sequence_is_in_nobodys_way(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b", retention=3600)
        lab.execute(ops.Complete(delivery=lab.take()))
        delivery = lab.take()
        assert export(lab, "a").place == 0
        release(lab, "a")
        transfer(lab, "a")
        assert lab.state("a") is TaskState.COMPLETED
        lab.execute(ops.Done(delivery=delivery))
        lab.execute(ops.RunTask(queue="q", task_id="a"))
        assert lab.take().message.id == "a"

    def test_a_parked_finished_task_holds_up_no_sequence(self, lab: Lab) -> None:
        enqueue_sequence(lab, "a", "b", retention=3600)
        lab.execute(ops.Complete(delivery=lab.take()))
        image = export(lab, "a")
        release(lab, "a", "deleted")
        take_over(lab, image)
        lab.execute(ops.Done(delivery=lab.take()))
        enqueue_sequence(lab, "c")
        assert lab.take().message.id == "c"

    @pytest.mark.parametrize("again", [True, False])
    def test_a_join_remembers_who_has_arrived(self, lab: Lab, again: bool) -> None:
        members = '[["q","m0"],["q","m1"]]'
        lab.enqueue(replace(lab.message(), headers={MEMBERS_HEADER: members}))
        arrival = ops.Arrive(
            queue="q", task_id="t", member=1, member_queue="q", member_id="m1", members=2, result="-"
        )
        assert lab.execute(arrival) == 1
        image = export(lab)
        assert image.arrived == (1,)
        assert lab.execute(replace(arrival, member=0, member_id="m0")) == 0
        release(lab, to="deleted")
        take_over(lab, image)
        release(lab)
        assert lab.dequeue() == ()
        if again:
            assert lab.execute(arrival) == 1
        assert lab.execute(replace(arrival, member=0, member_id="m0")) == 0
        assert lab.take().message.id == "t"

    @promise("G3")
    def test_a_settlement_of_before_is_refused(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.Requeue(delivery=delivery))
        export(lab)
        with pytest.raises(LeaseLostError):
            lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        assert release(lab)
        assert lab.drain() == ["t"]
