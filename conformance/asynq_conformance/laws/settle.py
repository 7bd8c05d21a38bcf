"""Laws of Done, Complete, Retry, Archive and Requeue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import AsynqError, LeaseLostError
from asynq.protocol import ops
from asynq.protocol.failures import without_failures
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, HOUR, LEASE, SECOND, Lab, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.laws.lease import stale_and_current
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery

    Settle = Callable[[Delivery], ops.Op[None]]

SETTLEMENTS: dict[str, Settle] = {
    "done": lambda d: ops.Done(delivery=d),
    "complete": lambda d: ops.Complete(delivery=d, result=b"result"),
    "retry": lambda d: ops.Retry(delivery=d, delay=HOUR, error="e"),
    "archive": lambda d: ops.Archive(delivery=d, error="e"),
    "requeue": lambda d: ops.Requeue(delivery=d),
}
every_settlement = pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS.keys())
every_proven_settlement = pytest.mark.parametrize(
    "settle",
    [settle for name, settle in SETTLEMENTS.items() if name != "done"],
    ids=[name for name in SETTLEMENTS if name != "done"],
)


@promise("G10")
class SettleLaws(Laws):
    """Settlement of runs."""

    # --- what each does -----------------------------------------------------------------------------

    @promise("G2", "G8")
    def test_a_done_task_is_removed_and_counted(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.state("t") is None
        assert lab.stats().size == 0
        assert lab.counters() == (1, 0)

    @promise("G1", "G8")
    def test_a_completed_task_and_its_result_are_kept_for_the_retention(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=60))
        lab.execute(ops.Complete(delivery=lab.take(), result=b"42"))
        stored = lab.task("t")
        assert (stored.state, stored.result) == (TaskState.COMPLETED, b"42")
        assert stored.due_at == whole_second(lab.now) + 60 * SECOND
        assert stored.message.completed_at in (lab.now // SECOND, whole_second(lab.now) // SECOND)
        assert lab.counters() == (1, 0)

    def test_a_time_beyond_the_calendar_is_settled_like_any_other(self, lab: Lab) -> None:
        lab.enqueue_all(["again"])
        lab.enqueue(lab.message("kept", retention=2**63 - 1))
        again, kept = lab.dequeue(count=2)
        lab.execute(ops.Retry(delivery=again, delay=2**63 - 1, error="boom"))
        lab.execute(ops.Complete(delivery=kept))
        assert (lab.state("again"), lab.state("kept")) == (TaskState.RETRY, TaskState.COMPLETED)
        assert min(lab.task("again").due_at, lab.task("kept").due_at) > lab.now + 1_000_000 * HOUR

    def test_completing_without_a_result_keeps_the_written_one(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(ops.WriteResult(lease=delivery.lease, result=b"progress"))
        lab.execute(ops.Complete(delivery=delivery))
        assert lab.task("t").result == b"progress"

    def test_completing_with_an_empty_result_differs_from_completing_without_one(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(ops.WriteResult(lease=delivery.lease, result=b"progress"))
        lab.execute(ops.Complete(delivery=delivery, result=b""))
        assert lab.task("t").result == b""

    @promise("G1", "G8")
    def test_a_failed_task_waits_for_its_retry(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Retry(delivery=lab.take(), delay=10 * SECOND, error="boom ☃"))
        stored = lab.task("t")
        assert (stored.state, stored.due_at) == (TaskState.RETRY, whole_second(lab.now + 10 * SECOND))
        assert (stored.message.retried, stored.message.error) == (1, "boom ☃")
        assert stored.message.last_failed_at in (lab.now // SECOND, whole_second(lab.now) // SECOND)
        assert lab.counters() == (1, 1)

    @promise("G8")
    def test_a_retry_that_is_not_a_failure_changes_no_counter(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Retry(delivery=lab.take(), delay=SECOND, error="not ready", failure=False))
        stored = lab.task("t")
        assert (stored.state, stored.message.retried) == (TaskState.RETRY, 0)
        assert stored.message.error == "not ready"
        assert lab.counters() == (0, 0)

    @pytest.mark.parametrize("offset", [-1, 0, 1])
    @promise("G9")
    def test_the_due_time_of_a_retry_is_rounded_up_to_a_whole_second(self, lab: Lab, offset: int) -> None:
        lab.enqueue("t")
        second = whole_second(lab.now) + 5 * SECOND
        lab.execute(ops.Retry(delivery=lab.take(), delay=second + offset - lab.now, error="e"))
        assert lab.task("t").due_at == (second if offset <= 0 else second + SECOND)

    @promise("G1", "G8")
    def test_an_archived_task_is_kept_with_its_error_and_counted_as_failed(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Archive(delivery=lab.take(), error="final"))
        stored = lab.task("t")
        assert (stored.state, stored.message.error) == (TaskState.ARCHIVED, "final")
        assert stored.due_at == whole_second(lab.now)
        assert stored.message.retried == 0
        assert lab.counters() == (1, 1)

    @promise("G7", "G8")
    def test_a_requeued_task_is_delivered_next_and_not_counted(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b"])
        lab.execute(ops.Requeue(delivery=lab.take()))
        stored = lab.task("a")
        assert (stored.state, stored.message.retried) == (TaskState.PENDING, 0)
        assert stored.pending_since == lab.now
        assert lab.counters() == (0, 0)
        assert lab.drain() == ["a", "b"]

    @every_settlement
    def test_a_settlement_keeps_unrelated_fields_of_the_message(self, lab: Lab, settle: Settle) -> None:
        message = replace(lab.message("t", retention=60), headers={"a": "b"}, deadline=5_000_000_000)
        lab.enqueue(message)
        lab.execute(settle(lab.take()))
        if lab.state("t") is not None:
            left = lab.task("t").message
            left = replace(left, headers=without_failures(left.headers))
            assert replace(left, retried=0, error="", last_failed_at=0, completed_at=0) == message

    # --- who may settle -------------------------------------------------------------------------------

    @every_settlement
    @promise("G3", "G10")
    def test_a_stale_token_changes_nothing(self, lab: Lab, settle: Settle) -> None:
        stale, current = stale_and_current(lab)
        before = lab.picture()
        with pytest.raises(LeaseLostError) as lost:
            lab.execute(settle(stale))
        assert (lost.value.queue, lost.value.task_id) == ("q", "t")
        assert lab.picture() == before
        lab.execute(ops.Done(delivery=current))
        assert lab.state("t") is None

    @every_settlement
    @promise("G3", "G10")
    def test_a_recovered_task_is_not_settled(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.recover(delivery, "retry")
        before = lab.picture()
        with pytest.raises(LeaseLostError):
            lab.execute(settle(replace(delivery, token="another")))
        assert lab.picture() == before

    @every_settlement
    @promise("G3", "G10")
    def test_a_settlement_does_not_restore_a_removed_task(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.Done(delivery=delivery))
        with pytest.raises(LeaseLostError):
            lab.execute(settle(replace(delivery, token="another")))
        assert lab.state("t") is None
        assert lab.stats().size == 0

    @every_settlement
    @promise("G3")
    def test_a_run_with_an_expired_lease_can_be_settled_until_it_is_recovered(
        self, lab: Lab, settle: Settle
    ) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.advance(10 * LEASE)
        lab.execute(settle(delivery))
        assert lab.state("t") is not TaskState.ACTIVE
        assert lab.execute(ops.ListLostLeases(queue="q")).leases == ()

    @every_settlement
    @promise("G3")
    def test_a_settled_task_has_no_lease(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(settle(delivery))
        lab.advance(10 * LEASE)
        assert lab.execute(ops.ListLostLeases(queue="q")) == ops.LostLeases(leases=())
        assert lab.stats().active == 0

    @promise("G3")
    def test_a_requeued_task_no_longer_belongs_to_its_worker(self, lab: Lab) -> None:
        lab.enqueue("t")
        first = lab.take()
        lab.execute(ops.Requeue(delivery=first))
        second = lab.take()
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=first))
        lab.execute(ops.Done(delivery=second))

    # --- sent again -----------------------------------------------------------------------------------

    @every_proven_settlement
    @promise("G8", "G10")
    def test_a_repeated_settlement_succeeds_and_counts_once(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(settle(delivery))
        before = lab.picture()
        lab.execute(settle(delivery))
        assert lab.picture() == before

    def test_a_repeated_done_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.Done(delivery=delivery))
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=delivery))
        assert lab.counters() == (1, 0)

    def test_a_repeated_done_does_not_affect_the_next_task_with_its_id(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.Done(delivery=delivery))
        lab.enqueue("t")
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Done(delivery=delivery))
        assert lab.drain() == ["t"]

    @every_settlement
    @promise("G3", "G10")
    def test_a_settlement_does_not_confirm_another(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(settle(delivery))
        before = lab.picture()
        for other in SETTLEMENTS.values():
            if other is not settle:
                with pytest.raises(LeaseLostError):
                    lab.execute(other(delivery))
        assert lab.picture() == before

    @every_settlement
    def test_a_forwarded_task_confirms_no_settlement(self, lab: Lab, settle: Settle) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        before = lab.picture()
        with pytest.raises(LeaseLostError):
            lab.execute(settle(delivery))
        assert lab.picture() == before

    # --- batches --------------------------------------------------------------------------------------

    @every_settlement
    @pytest.mark.parametrize("size", BATCH_SIZES)
    def test_many_runs_are_settled_in_one_batch(self, lab: Lab, settle: Settle, size: int) -> None:
        lab.enqueue_all([f"t{number:03}" for number in range(size)])
        deliveries: list[Delivery] = []
        while got := lab.dequeue(count=ops.MAX_BATCH):
            deliveries.extend(got)
        assert lab.execute_many([settle(delivery) for delivery in deliveries]) == [None] * size
        if size:
            stats = lab.stats()
            assert (stats.active, stats.size) == (0, 0 if settle is SETTLEMENTS["done"] else size)

    def test_a_batch_may_mix_settlements_of_every_kind_and_queue(self, lab: Lab) -> None:
        lab.enqueue_all([f"t{number}" for number in range(10)], "a")
        lab.enqueue_all([f"t{number}" for number in range(10)], "b")
        deliveries = lab.dequeue("a", "b", count=20)
        verbs = list(SETTLEMENTS.values())
        operations = [verbs[number % 5](delivery) for number, delivery in enumerate(deliveries)]
        assert lab.execute_many(operations) == [None] * 20
        for queue in ("a", "b"):
            stats = lab.stats(queue)
            assert (stats.completed, stats.retry, stats.archived, stats.pending) == (2, 2, 2, 2)
            assert (stats.processed_total, stats.failed_total) == (8, 4)

    @promise("G3", "G8")
    def test_one_of_two_settlements_of_a_run_takes_effect(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        answers: list[AsynqError | None] = lab.execute_many(
            [ops.Done(delivery=delivery), ops.Archive(delivery=delivery, error="e")]
        )
        assert sum(answer is None for answer in answers) == 1
        assert sum(isinstance(answer, LeaseLostError) for answer in answers) == 1
        assert lab.counters()[0] == 1

    @promise("G3", "G10")
    def test_a_stale_settlement_does_not_affect_others_of_its_batch(self, lab: Lab) -> None:
        stale, current = stale_and_current(lab)
        lab.enqueue("other")
        other = lab.take()
        answers = lab.execute_many([ops.Done(delivery=d) for d in (stale, other, current)])
        assert [isinstance(answer, LeaseLostError) for answer in answers] == [True, False, False]
        assert lab.stats().size == 0

    # --- the archive's limits ---------------------------------------------------------------------------

    @pytest.mark.parametrize(("limit", "left"), [(1, ["c"]), (2, ["b", "c"]), (3, ["a", "b", "c"])])
    def test_archiving_trims_the_oldest_tasks_beyond_the_size(
        self, lab: Lab, limit: int, left: list[str]
    ) -> None:
        for name in ("a", "b", "c"):
            lab.enqueue(name)
            lab.execute(ops.Archive(delivery=lab.take(), error="e", max_size=limit))
            lab.advance(SECOND)
        assert lab.listed(TaskState.ARCHIVED) == left
        assert [name for name in ("a", "b", "c") if lab.state(name)] == left

    def test_archiving_without_the_lease_trims_nothing(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.advance(2 * HOUR)
        stale, _ = stale_and_current(lab)
        with pytest.raises(LeaseLostError):
            lab.execute(ops.Archive(delivery=stale, error="e", max_size=0, max_age=HOUR))
        assert lab.listed(TaskState.ARCHIVED) == ["old"]

    def test_archiving_trims_tasks_that_are_too_old(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.advance(2 * HOUR)
        lab.enqueue("new")
        lab.execute(ops.Archive(delivery=lab.take(), error="e", max_age=HOUR))
        assert lab.listed(TaskState.ARCHIVED) == ["new"]
        assert lab.state("old") is None
