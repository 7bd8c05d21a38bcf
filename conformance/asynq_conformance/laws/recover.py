"""Laws of ListLostLeases, Recover and AdoptOrphans: recovery of tasks whose worker is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from msgspec.structs import replace

from asynq.errors import DuplicateTaskError, LeaseLostError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, HOUR, LEASE, MINUTE, SECOND, Lab, lock_name, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery

Target = Literal["pending", "retry", "archived"]
every_target = pytest.mark.parametrize("to", ["pending", "retry", "archived"])


@promise("G11")
class RecoverLaws(Laws):
    """Recovery of tasks whose worker is lost."""

    # --- finding --------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "lost"), [(-1, False), (0, True), (1, True)])
    @promise("G3", "G9", "G11")
    def test_a_lease_is_lost_from_the_instant_of_its_expiry(self, lab: Lab, offset: int, lost: bool) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.advance_to(delivery.expires_at + offset)
        leases = lab.execute(ops.ListLostLeases(queue="q")).leases
        assert [lease.message.id for lease in leases] == (["t"] if lost else [])
        assert lab.task("t").orphaned is lost
        (listed,) = lab.execute(ops.ListTasks(queue="q", state=TaskState.ACTIVE))
        assert listed.orphaned is lost

    def test_lost_leases_are_listed_oldest_first_up_to_the_limit(self, lab: Lab) -> None:
        for name in ("a", "b", "c"):
            lab.enqueue(name)
            lab.take(lease=LEASE - SECOND * ord(name))
            lab.advance(1)
        lab.advance(HOUR)
        leases = lab.execute(ops.ListLostLeases(queue="q")).leases
        assert [lease.message.id for lease in leases] == ["c", "b", "a"]
        first = lab.execute(ops.ListLostLeases(queue="q", limit=2)).leases
        assert [lease.message.id for lease in first] == ["c", "b"]

    def test_no_lease_expires_before_the_instant_that_is_stated(self, lab: Lab) -> None:
        expiries = []
        for name, lease in (("a", LEASE), ("b", 2 * LEASE), ("c", 3 * LEASE)):
            lab.enqueue(name)
            expiries.append(lab.take(lease=lease).expires_at)

        def stated(limit: int = 50) -> int | None:
            return lab.execute(ops.ListLostLeases(queue="q", limit=limit)).next_expiry

        for expiry in expiries:
            assert (stated() or 0) <= expiry
            lab.advance_to(expiry)
        assert (stated(limit=2) or 0) <= expiries[2]

    @pytest.mark.parametrize("size", BATCH_SIZES)
    @promise("G1", "G11")
    def test_every_lost_task_is_recovered_in_batches(self, lab: Lab, size: int) -> None:
        ids = [f"t{number}" for number in range(size)]
        lab.enqueue_all(ids)
        lab.drain()
        lab.advance(2 * LEASE)
        while leases := lab.execute(ops.ListLostLeases(queue="q")).leases:
            answers = lab.execute_many(
                [ops.Recover(lost=lost, to="pending", error="lost") for lost in leases]
            )
            assert answers == [True] * len(leases)
        assert sorted(lab.drain()) == sorted(ids)

    @promise("G10")
    def test_listing_lost_leases_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.lose_worker(delivery)
        before = lab.picture()
        lab.lose_worker(delivery)
        assert lab.picture() == before

    def test_an_unknown_queue_has_no_lost_leases(self, lab: Lab) -> None:
        assert lab.execute(ops.ListLostLeases(queue="unheard-of")) == ops.LostLeases(leases=())

    def test_a_damaged_lost_task_is_archived_and_the_others_are_listed(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "bad", "b"])
        lab.dequeue(count=3)
        lab.harness.corrupt("q", "bad")
        lab.advance(2 * LEASE)
        answer = lab.execute(ops.ListLostLeases(queue="q"))
        assert sorted(lost.message.id for lost in answer.leases) == ["a", "b"]
        assert answer.set_aside == ("bad",)
        stored = lab.task("bad")
        assert (stored.state, "set aside" in stored.message.error) == (TaskState.ARCHIVED, True)
        assert lab.execute(ops.ListLostLeases(queue="q")).set_aside == ()

    def test_an_active_id_without_a_task_is_removed(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "gone"])
        lab.dequeue(count=2)
        lab.harness.lose("q", "gone")
        lab.advance(2 * LEASE)
        answer = lab.execute(ops.ListLostLeases(queue="q"))
        assert [lost.message.id for lost in answer.leases] == ["a"]
        assert answer.dropped == 1
        assert lab.stats().active == 1

    # --- recovering -----------------------------------------------------------------------------------

    @promise("G1", "G7", "G11")
    def test_a_task_recovered_as_pending_is_delivered_next(self, lab: Lab) -> None:
        lab.enqueue_all(["t", "waiting"])
        delivery = lab.take()
        lab.recover(delivery, "pending")
        stored = lab.task("t")
        assert (stored.state, stored.pending_since) == (TaskState.PENDING, lab.now)
        assert lab.drain() == ["t", "waiting"]

    @promise("G1", "G9")
    def test_a_task_recovered_as_retry_is_due_after_its_delay(self, lab: Lab) -> None:
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        assert lab.execute(ops.Recover(lost=lost, to="retry", error="lost", delay=MINUTE))
        stored = lab.task("t")
        assert (stored.state, stored.due_at) == (TaskState.RETRY, whole_second(lab.now + MINUTE))

    @promise("G1")
    def test_a_task_recovered_as_archived_is_in_the_archive(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.recover(lab.take(), "archived")
        stored = lab.task("t")
        assert (stored.state, stored.due_at) == (TaskState.ARCHIVED, whole_second(lab.now))

    def test_recovery_into_the_archive_trims_it(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.advance(SECOND)
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        lab.execute(ops.Recover(lost=lost, to="archived", error="lost", max_size=1))
        assert lab.listed(TaskState.ARCHIVED) == ["t"]
        assert lab.state("old") is None

    @pytest.mark.parametrize(
        ("age", "size", "stays"), [(HOUR, 1, False), (HOUR, 2, True), (SECOND, 2, False)]
    )
    def test_recovery_into_the_archive_trims_by_size_and_age(
        self, lab: Lab, age: int, size: int, stays: bool
    ) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        lab.execute(ops.Recover(lost=lost, to="archived", error="lost", max_size=size, max_age=age))
        assert lab.listed(TaskState.ARCHIVED) == (["old", "t"] if stays else ["t"])

    def test_recovery_to_other_states_does_not_trim_the_archive(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        lab.execute(ops.Recover(lost=lost, to="pending", error="lost", max_size=0, max_age=0))
        assert lab.listed(TaskState.ARCHIVED) == ["old"]

    @promise("G4")
    def test_tasks_recovered_beyond_the_archive_size_are_removed_with_their_locks(self, lab: Lab) -> None:
        unique = ops.Unique(ttl=HOUR)
        for name in "abc":
            lab.enqueue(lab.message(name, lock=lock_name(name=name)), unique=unique)
        deliveries = lab.dequeue(count=3)
        lab.advance_to(deliveries[0].expires_at)
        leases = lab.execute(ops.ListLostLeases(queue="q")).leases
        recover = [ops.Recover(lost=lost, to="archived", error="lost", max_size=1) for lost in leases]
        assert lab.execute_many(recover) == [True] * 3
        (left,) = lab.listed(TaskState.ARCHIVED)
        for name in {*"abc"} - {left}:
            assert lab.state(name) is None
            lab.enqueue(lab.message(f"new-{name}", lock=lock_name(name=name)), unique=unique)
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("new", lock=lock_name(name=left)), unique=unique)

    @every_target
    @promise("G8")
    def test_a_loss_uses_a_retry_and_is_recorded_and_counted(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        lab.recover(lab.take(), to)
        message = lab.task("t").message
        assert (message.retried, message.error) == (1, "lost")
        assert message.last_failed_at in (lab.now // SECOND, whole_second(lab.now) // SECOND)
        assert lab.counters() == (1, 1)

    @every_target
    def test_a_loss_never_exceeds_the_maximum_of_retries(self, lab: Lab, to: Target) -> None:
        lab.enqueue(lab.message("t", max_retry=0))
        lab.recover(lab.take(), to)
        assert lab.task("t").message.retried == 0

    @promise("G8")
    def test_losses_are_recorded_with_the_task(self, lab: Lab) -> None:
        lab.enqueue("t")
        for losses in range(3):
            delivery = lab.take()
            assert delivery.lease_losses == losses
            lost = lab.lose_worker(delivery)
            assert lost.lease_losses == losses
            assert lab.execute(ops.Recover(lost=lost, to="pending", error="lost"))

    @promise("G8")
    def test_recorded_losses_persist_through_a_retry(self, lab: Lab) -> None:
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        lab.execute(ops.Recover(lost=lost, to="retry", error="lost", delay=SECOND))
        lab.advance(3 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().lease_losses == 1

    @every_target
    @promise("G3")
    def test_a_recovered_task_has_no_lease(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        lab.recover(lab.take(), to)
        lab.advance(HOUR)
        assert lab.execute(ops.ListLostLeases(queue="q")) == ops.LostLeases(leases=())
        assert lab.stats().active == 0

    # --- only once, and only what was observed ---------------------------------------------------------

    @every_target
    @promise("G3", "G10")
    def test_one_of_two_recoveries_succeeds(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        assert lab.execute(ops.Recover(lost=lost, to=to, error="lost")) is True
        before = lab.picture()
        assert lab.execute(ops.Recover(lost=lost, to=to, error="lost again")) is False
        assert lab.picture() == before

    @every_target
    @promise("G3", "G10")
    def test_two_recoveries_in_a_batch_take_effect_once(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        assert lab.execute_many([ops.Recover(lost=lost, to=to, error="lost")] * 2) == [True, False]
        assert lab.counters() == (1, 1)
        assert lab.stats().size == 1

    @every_target
    @promise("G3", "G10")
    def test_a_task_that_was_delivered_again_is_not_recovered(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lost = lab.lose_worker(delivery)
        lab.recover(delivery)
        current = lab.take()
        before = lab.picture()
        assert lab.execute(ops.Recover(lost=lost, to=to, error="lost")) is False
        assert lab.picture() == before
        lab.execute(ops.Done(delivery=current))

    @every_target
    @promise("G3", "G10")
    def test_a_task_with_an_extended_lease_is_not_recovered(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lost = lab.lose_worker(delivery)
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        assert lab.execute(ops.Recover(lost=lost, to=to, error="lost")) is False
        lab.execute(ops.Done(delivery=delivery))

    @every_target
    @promise("G3", "G10")
    def test_a_settled_run_is_not_recovered(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lost = lab.lose_worker(delivery)
        lab.execute(ops.Done(delivery=delivery))
        assert lab.execute(ops.Recover(lost=lost, to=to, error="lost")) is False
        assert lab.state("t") is None
        assert lab.counters() == (1, 0)

    @every_target
    @promise("G3", "G10")
    def test_a_worker_cannot_settle_a_recovered_task(self, lab: Lab, to: Target) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.recover(delivery, to)
        before = lab.picture()
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=delivery))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.WriteResult(lease=delivery.lease, result=b"late"))
        assert lab.picture() == before

    @promise("G3", "G10")
    def test_recovery_does_not_confirm_a_settlement(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.recover(delivery, "archived")
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Archive(delivery=delivery, error="mine"))
        assert lab.task("t").message.error == "lost"

    # --- orphans --------------------------------------------------------------------------------------

    def stranded(self, lab: Lab, count: int) -> list[Delivery]:
        """Deliveries of active tasks whose leases were removed."""
        lab.enqueue_all([f"t{number}" for number in range(count)])
        deliveries: list[Delivery] = []
        while got := lab.dequeue(count=ops.MAX_BATCH):
            deliveries.extend(got)
        for delivery in deliveries:
            lab.harness.strand("q", delivery.message.id)
        return deliveries

    def test_an_active_task_without_a_lease_is_an_orphan(self, lab: Lab) -> None:
        self.stranded(lab, 1)
        assert lab.task("t0").orphaned

    @promise("G1", "G11")
    def test_an_orphan_is_recovered_after_its_grace_period(self, lab: Lab) -> None:
        self.stranded(lab, 1)
        answer = lab.execute(ops.AdoptOrphans(queue="q", grace=LEASE))
        assert answer == ops.Adopted(adopted=1, dropped=0, cursor=0)
        lab.advance(LEASE - 1)
        assert lab.execute(ops.ListLostLeases(queue="q")).leases == ()
        lab.advance(2)
        (lost,) = lab.execute(ops.ListLostLeases(queue="q")).leases
        assert lab.execute(ops.Recover(lost=lost, to="pending", error="lost"))
        assert lab.drain() == ["t0"]

    @pytest.mark.parametrize("adopted", [False, True])
    @promise("G3", "G10")
    def test_a_worker_without_a_lease_cannot_settle(self, lab: Lab, adopted: bool) -> None:
        (delivery,) = self.stranded(lab, 1)
        if adopted:
            lab.execute(ops.AdoptOrphans(queue="q", grace=LEASE))
        before = lab.picture()
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=delivery))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        assert lab.picture() == before

    @promise("G3")
    def test_a_leased_task_is_not_adopted(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        assert lab.execute(ops.AdoptOrphans(queue="q", grace=SECOND)).adopted == 0
        assert lab.task("t").due_at == delivery.expires_at

    @pytest.mark.parametrize("size", BATCH_SIZES[1:])
    @promise("G1", "G11")
    def test_every_orphan_is_found_in_batches(self, lab: Lab, size: int) -> None:
        self.stranded(lab, size)
        adopted, cursor = 0, 0
        while True:
            answer = lab.execute(ops.AdoptOrphans(queue="q", grace=LEASE, cursor=cursor))
            adopted += answer.adopted
            cursor = answer.cursor
            if cursor == 0:
                break
        assert adopted == size

    @promise("G3")
    def test_the_former_worker_of_an_adopted_task_cannot_settle_it(self, lab: Lab) -> None:
        (delivery,) = self.stranded(lab, 1)
        lab.execute(ops.AdoptOrphans(queue="q", grace=LEASE))
        lab.advance(2 * LEASE)
        (lost,) = lab.execute(ops.ListLostLeases(queue="q")).leases
        lab.execute(ops.Recover(lost=lost, to="pending", error="lost"))
        current = lab.take()
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=replace(delivery)))
        lab.execute(ops.Done(delivery=current))

    def test_an_active_id_without_lease_or_task_is_removed(self, lab: Lab) -> None:
        self.stranded(lab, 2)
        lab.harness.lose("q", "t0")
        answer = lab.execute(ops.AdoptOrphans(queue="q", grace=LEASE))
        assert (answer.adopted, answer.dropped) == (1, 1)
        assert lab.stats().active == 1
