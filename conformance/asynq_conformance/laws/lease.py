"""Laws of ExtendLease and WriteResult, which only the holder of a lease may use."""

from __future__ import annotations

import pytest

from asynq.errors import LeaseLostError, TaskNotFoundError
from asynq.protocol import ops
from asynq.protocol.message import Delivery, Lease
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, LEASE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.consume import precise
from asynq_conformance.promises import promise


def stale_and_current(lab: Lab) -> tuple[Delivery, Delivery]:
    """Two deliveries of one task: the first worker lost its lease, the second holds it."""
    lab.enqueue(lab.message("t", retention=60))
    stale = lab.take()
    lab.recover(stale)
    return stale, lab.take()


@promise("G3")
class LeaseLaws(Laws):
    """How a worker keeps its task, and detects that it lost it."""

    def test_an_extension_of_a_lease_counts_from_the_present(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take(lease=LEASE)
        lab.advance(10 * SECOND)
        extended = lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        assert extended.expires_at in precise(lab.now + LEASE)
        assert extended.cancel == ""
        assert lab.task("t").due_at == extended.expires_at

    def test_an_extension_never_shortens_a_lease(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take(lease=LEASE)
        extended = lab.execute(ops.ExtendLease(lease=delivery.lease, duration=SECOND))
        assert extended.expires_at == delivery.expires_at
        assert lab.task("t").due_at == delivery.expires_at

    def test_the_longer_of_two_concurrent_extensions_takes_effect(self, lab: Lab) -> None:
        lab.enqueue("t")
        lease = lab.take(lease=LEASE).lease
        longer, shorter = (ops.ExtendLease(lease=lease, duration=factor * LEASE) for factor in (3, 2))
        first, second = lab.execute_many([longer, shorter])
        assert first == second
        assert lab.task("t").due_at in precise(lab.now + 3 * LEASE)

    def test_an_extended_lease_is_not_lost_at_its_original_end(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take(lease=LEASE)
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=2 * LEASE))
        lab.advance_to(delivery.expires_at)
        assert lab.execute(ops.ListLostLeases(queue="q")).leases == ()

    def test_a_run_with_an_extended_lease_can_be_settled(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=2 * LEASE))
        lab.execute(ops.Done(delivery=delivery))
        assert lab.state("t") is None

    def test_an_expired_lease_can_be_extended_until_the_task_is_recovered(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.advance(2 * LEASE)
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE))
        assert lab.execute(ops.ListLostLeases(queue="q")).leases == ()

    @promise("G3", "G10")
    def test_a_stale_lease_cannot_be_extended(self, lab: Lab) -> None:
        stale, current = stale_and_current(lab)
        before = lab.picture()
        with pytest.raises(LeaseLostError) as lost:
            lab.execute(ops.ExtendLease(lease=stale.lease, duration=10 * LEASE))
        assert (lost.value.queue, lost.value.task_id) == ("q", "t")
        assert lab.picture() == before
        lab.execute(ops.Done(delivery=current))

    @pytest.mark.parametrize(
        "state", [TaskState.PENDING, TaskState.RETRY, TaskState.ARCHIVED, TaskState.COMPLETED]
    )
    def test_extending_the_lease_of_a_task_that_is_not_active_is_refused(
        self, lab: Lab, state: TaskState
    ) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(LeaseLostError):
            lab.execute(ops.ExtendLease(lease=Lease("q", "t", "token-2"), duration=LEASE))
        assert lab.picture() == before

    def test_extending_never_creates_a_task(self, lab: Lab) -> None:
        with pytest.raises(LeaseLostError):
            lab.execute(ops.ExtendLease(lease=Lease("q", "unheard-of", "token"), duration=LEASE))
        assert lab.state("unheard-of") is None

    @pytest.mark.parametrize("size", BATCH_SIZES)
    def test_many_leases_are_extended_in_one_batch(self, lab: Lab, size: int) -> None:
        lab.enqueue_all([f"t{number}" for number in range(size)])
        deliveries: list[Delivery] = []
        while got := lab.dequeue(count=40):
            deliveries.extend(got)
        lab.advance(SECOND)
        answers = lab.execute_many([ops.ExtendLease(lease=d.lease, duration=LEASE) for d in deliveries])
        assert len(answers) == size
        for answer in answers:
            assert isinstance(answer, ops.Extended)
            assert answer.expires_at in precise(lab.now + LEASE)

    def test_a_lost_lease_in_a_batch_is_identified(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c"])
        a, b, c = lab.dequeue(count=3)
        lab.execute(ops.Done(delivery=b))
        answers = lab.execute_many([ops.ExtendLease(lease=d.lease, duration=LEASE) for d in (a, b, c)])
        assert [isinstance(answer, LeaseLostError) for answer in answers] == [False, True, False]

    # --- results ------------------------------------------------------------------------------------

    @promise("G10")
    def test_a_result_written_during_a_run_is_visible(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        for result in (b"10 %", b"", bytes(range(256))):
            lab.execute(ops.WriteResult(lease=delivery.lease, result=result))
            assert lab.task("t").result == result

    @promise("G10")
    def test_a_task_without_a_result_returns_none(self, lab: Lab) -> None:
        lab.enqueue("t")
        assert lab.task("t").result is None

    @promise("G3", "G10")
    def test_a_stale_worker_cannot_write_a_result(self, lab: Lab) -> None:
        stale, current = stale_and_current(lab)
        lab.execute(ops.WriteResult(lease=current.lease, result=b"current"))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.WriteResult(lease=stale.lease, result=b"stale"))
        assert lab.task("t").result == b"current"

    def test_a_late_result_does_not_restore_a_task(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.Done(delivery=delivery))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.WriteResult(lease=delivery.lease, result=b"late"))
        with pytest.raises(TaskNotFoundError):
            lab.task("t")
        lab.enqueue("t")
