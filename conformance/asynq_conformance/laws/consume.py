"""Laws of Dequeue."""

from __future__ import annotations

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, LEASE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise


def precise(expected: int) -> range:
    """Instants at which a lease may end: a backend may add one millisecond."""
    return range(expected, expected + 2)


@promise("G2")
class ConsumeLaws(Laws):
    """Delivery of tasks to workers."""

    def test_an_unknown_queue_delivers_no_task(self, lab: Lab) -> None:
        assert lab.dequeue("unheard-of") == ()
        assert lab.execute(ops.ListQueues()) == ()

    def test_a_dequeue_of_no_tasks_returns_none(self, lab: Lab) -> None:
        lab.enqueue("t")
        assert lab.dequeue(count=0) == ()
        assert lab.state("t") is TaskState.PENDING

    @promise("G2", "G3")
    def test_a_delivered_task_is_active_and_has_a_lease(self, lab: Lab) -> None:
        message = lab.message("t")
        lab.enqueue(message)
        (delivery,) = lab.dequeue(token="mine", lease=LEASE)
        assert delivery.message == message
        assert delivery.token == "mine"
        assert delivery.expires_at in precise(lab.now + LEASE)
        assert (delivery.lease_losses, delivery.cancel) == (0, "")
        stored = lab.task("t")
        assert (stored.state, stored.due_at) == (TaskState.ACTIVE, delivery.expires_at)
        assert (stored.pending_since, stored.orphaned) == (0, False)

    @promise("G2", "G9")
    def test_a_delivery_contains_its_time(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b"])
        lab.advance(SECOND + 1)
        (first,) = lab.dequeue(token="mine")
        assert first.delivered_at == lab.now
        lab.advance(SECOND + 1)
        again = lab.dequeue(token="mine", count=2)
        assert [delivery.delivered_at for delivery in again] == [lab.now, lab.now]

    @promise("G2", "G9")
    def test_a_delivery_tells_since_when_its_task_was_pending(self, lab: Lab) -> None:
        began = lab.now
        lab.enqueue_all(["a", "b"])
        lab.advance(SECOND + 1)
        lab.enqueue_all(["c"], queue="other")
        lab.advance(SECOND)
        deliveries = lab.dequeue("q", "other", token="mine", count=4, since=True)
        told = {delivery.message.id: delivery.pending_since for delivery in deliveries}
        assert told == {"a": began, "b": began, "c": began + SECOND + 1}
        copy = lab.dequeue("q", "other", token="mine", count=4, since=True)
        assert {delivery.message.id for delivery in copy} == {*told}

    @promise("G2", "G9")
    def test_each_delivery_of_a_queue_tells_since_when_its_task_was_pending(self, lab: Lab) -> None:
        began = lab.now
        lab.enqueue_all(["a", "b"])
        lab.advance(SECOND)
        orders = (("q", "other"), ("other", "q"))
        deliveries = lab.execute(ops.Dequeue(orders=orders, token="mine", lease=LEASE, since=True))
        assert {delivery.message.id: delivery.pending_since for delivery in deliveries} == {
            "a": began,
            "b": began,
        }

    @promise("G2", "G9")
    def test_a_task_that_ran_before_is_pending_since_it_is_due_again(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Retry(delivery=lab.take(), delay=SECOND, error="e"))
        lab.advance(10 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        forwarded = lab.now
        lab.advance(SECOND)
        (delivery,) = lab.dequeue(since=True)
        assert delivery.pending_since == forwarded
        assert delivery.delivered_at == forwarded + SECOND

    @promise("G3")
    def test_a_task_is_delivered_once(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.take()
        assert lab.dequeue() == ()

    @pytest.mark.parametrize("size", [size for size in BATCH_SIZES if size <= ops.MAX_BATCH])
    def test_a_dequeue_returns_one_task_for_each_order(self, lab: Lab, size: int) -> None:
        ids = [f"t{number:03}" for number in range(60)]
        lab.enqueue_all(ids)
        assert [delivery.message.id for delivery in lab.dequeue(count=size)] == ids[:size]
        assert lab.listed(TaskState.PENDING) == ids[size:]

    @pytest.mark.parametrize("size", BATCH_SIZES)
    @promise("G2", "G3")
    def test_many_dequeues_in_a_batch_deliver_each_task_once(self, lab: Lab, size: int) -> None:
        ids = [f"t{number}" for number in range(size)]
        lab.enqueue_all(ids)
        answers = lab.execute_many(
            [ops.Dequeue(orders=(("q",),) * 40, token=lab.fresh(), lease=LEASE) for _ in range(4)]
        )
        taken = [d.message.id for answer in answers if isinstance(answer, tuple) for d in answer]
        assert sorted(taken) == sorted(ids)

    def test_a_dequeue_returns_fewer_tasks_if_fewer_are_pending(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b"])
        assert [delivery.message.id for delivery in lab.dequeue(count=5)] == ["a", "b"]

    # --- orders -------------------------------------------------------------------------------------

    @promise("G5")
    def test_the_first_queue_of_an_order_with_a_pending_task_is_used(self, lab: Lab) -> None:
        lab.enqueue_all(["l1", "l2"], "low")
        lab.enqueue_all(["m1"], "middle")
        assert [lab.take("high", "middle", "low").message.id for _ in range(3)] == ["m1", "l1", "l2"]

    @promise("G5")
    def test_queues_are_tried_in_the_order_of_the_caller(self, lab: Lab) -> None:
        lab.enqueue_all(["1"], "a")
        lab.enqueue_all(["2"], "z")
        assert lab.take("z", "a").message.id == "2"

    @promise("G5", "G6")
    def test_each_requested_task_follows_its_own_order(self, lab: Lab) -> None:
        lab.enqueue_all(["a1", "a2", "a3"], "a")
        lab.enqueue_all(["b1"], "b")
        orders = (("b", "a"), ("a", "b"), ("b", "a"), ("b",))
        deliveries = lab.execute(ops.Dequeue(orders=orders, token="mine", lease=LEASE))
        assert sorted(delivery.message.id for delivery in deliveries) == ["a1", "a2", "b1"]

    def test_a_dequeue_takes_tasks_only_from_the_named_queues(self, lab: Lab) -> None:
        lab.enqueue_all(["t"], "a")
        assert lab.dequeue("b", "c") == ()

    @promise("G5")
    def test_a_later_task_of_a_preferred_queue_is_delivered_first(self, lab: Lab) -> None:
        lab.enqueue_all(["l1", "l2"], "low")
        assert lab.take("high", "low").message.id == "l1"
        lab.enqueue_all(["h1"], "high")
        assert lab.take("high", "low").message.id == "h1"

    # --- limits -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("limit", "count"), [(0, 0), (1, 1), (3, 3), (9, 5)])
    @promise("G10")
    def test_a_limit_bounds_the_active_tasks_of_a_queue(self, lab: Lab, limit: int, count: int) -> None:
        lab.enqueue_all(["a", "b", "c", "d", "e"])
        assert len(lab.dequeue(count=10, limits={"q": limit})) == count
        assert lab.dequeue(count=10, limits={"q": limit}) == ()
        assert len(lab.listed(TaskState.PENDING)) == 5 - count

    @promise("G10")
    def test_a_limit_counts_tasks_taken_by_other_workers(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c"])
        lab.take()
        assert [delivery.message.id for delivery in lab.dequeue(count=5, limits={"q": 2})] == ["b"]

    @promise("G10")
    def test_settled_and_recovered_tasks_do_not_count_towards_a_limit(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c"])
        (first,) = lab.dequeue(count=3, limits={"q": 1})
        lab.execute(ops.Done(delivery=first))
        (second,) = lab.dequeue(count=3, limits={"q": 1})
        lab.advance(2 * LEASE)
        assert lab.dequeue(limits={"q": 1}) == ()
        lab.recover(second)
        assert [delivery.message.id for delivery in lab.dequeue(count=3, limits={"q": 1})] == ["b"]

    @promise("G5", "G10")
    def test_a_queue_at_its_limit_is_skipped(self, lab: Lab) -> None:
        lab.enqueue_all(["h1", "h2"], "high")
        lab.enqueue_all(["l1", "l2"], "low")
        taken = lab.dequeue("high", "low", count=3, limits={"high": 1})
        assert sorted(delivery.message.id for delivery in taken) == ["h1", "l1", "l2"]

    @promise("G3", "G10")
    def test_a_repeated_dequeue_returns_its_tasks_regardless_of_the_limit(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c"])
        limits = {"q": 2}
        first = lab.dequeue(count=3, token="mine", limits=limits)
        again = lab.dequeue(count=3, token="mine", limits=limits)
        assert sorted(again, key=lambda d: d.message.id) == sorted(first, key=lambda d: d.message.id)

    # --- pause --------------------------------------------------------------------------------------

    def test_a_paused_queue_is_skipped(self, lab: Lab) -> None:
        lab.enqueue_all(["h1"], "high")
        lab.enqueue_all(["l1"], "low")
        lab.execute(ops.PauseQueue(queue="high"))
        assert lab.drain("high", "low") == ["l1"]
        lab.execute(ops.UnpauseQueue(queue="high"))
        assert lab.drain("high", "low") == ["h1"]

    def test_a_running_task_continues_when_its_queue_is_paused(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.PauseQueue(queue="q"))
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=2 * LEASE))
        lab.execute(ops.Done(delivery=delivery))
        assert lab.state("t") is None

    # --- sent again ---------------------------------------------------------------------------------

    @promise("G3", "G10")
    def test_a_repeated_dequeue_returns_the_tasks_it_already_holds(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c", "d"])
        first = lab.dequeue(count=2, token="mine")
        again = lab.dequeue(count=2, token="mine")
        assert sorted(again, key=lambda d: d.message.id) == sorted(first, key=lambda d: d.message.id)
        assert lab.listed(TaskState.PENDING) == ["c", "d"]

    @promise("G3", "G10")
    def test_a_repeated_full_dequeue_takes_no_further_task(self, lab: Lab) -> None:
        lab.enqueue_all([f"t{number}" for number in range(120)])
        first = {delivery.message.id for delivery in lab.dequeue(count=ops.MAX_BATCH, token="mine")}
        again = {delivery.message.id for delivery in lab.dequeue(count=ops.MAX_BATCH, token="mine")}
        assert again == first
        assert lab.stats().active == ops.MAX_BATCH

    @promise("G3", "G10")
    def test_a_repeated_dequeue_takes_only_the_missing_number_of_tasks(self, lab: Lab) -> None:
        lab.enqueue("a")
        lab.dequeue(count=2, token="mine")
        lab.enqueue_all(["b", "c"])
        again = lab.dequeue(count=2, token="mine")
        assert sorted(delivery.message.id for delivery in again) == ["a", "b"]
        assert lab.listed(TaskState.PENDING) == ["c"]

    @promise("G3", "G10")
    def test_a_repeated_dequeue_returns_its_tasks_from_every_queue(self, lab: Lab) -> None:
        lab.enqueue_all(["a"], "first")
        lab.enqueue_all(["b"], "second")
        for _ in range(2):
            deliveries = lab.dequeue("first", "second", count=2, token="mine")
            assert sorted(delivery.message.id for delivery in deliveries) == ["a", "b"]

    def test_tasks_with_one_id_in_two_queues_are_delivered_separately(self, lab: Lab) -> None:
        lab.enqueue_all(["t"], "a")
        lab.enqueue_all(["t"], "b")
        first, second = lab.dequeue("a", "b", count=2)
        lab.execute(ops.Done(delivery=first))
        assert lab.state("t", "a") is None
        assert lab.state("t", "b") is TaskState.ACTIVE
        lab.execute(ops.Done(delivery=second))

    # --- damage -------------------------------------------------------------------------------------

    @promise("G1", "G11")
    def test_an_undecodable_task_is_archived_and_does_not_block_its_queue(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "bad", "b"])
        lab.harness.corrupt("q", "bad")
        assert lab.drain() == ["a", "b"]
        stored = lab.task("bad")
        assert stored.state is TaskState.ARCHIVED
        assert "set aside" in stored.message.error
        assert lab.stats().active == 2

    @promise("G1", "G11")
    def test_an_intact_task_behind_many_damaged_ones_is_delivered(self, lab: Lab) -> None:
        lab.enqueue_all([f"bad{number}" for number in range(7)])
        lab.enqueue("good")
        for number in range(7):
            lab.harness.corrupt("q", f"bad{number}")
        assert lab.drain() == ["good"]
        assert lab.stats().archived == 7

    @promise("G11")
    def test_no_damaged_task_stays_active(self, lab: Lab) -> None:
        damaged = [f"bad{number}" for number in range(40)]
        lab.enqueue_all(damaged)
        for task_id in damaged:
            lab.harness.corrupt("q", task_id)
        assert lab.dequeue(count=2) == ()
        stats = lab.stats()
        assert (stats.active, stats.pending + stats.archived) == (0, 40)

    @promise("G11")
    def test_a_repeated_dequeue_skips_tasks_damaged_since(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "bad", "b"])
        lab.dequeue(count=3, token="mine")
        lab.harness.corrupt("q", "bad")
        again = lab.dequeue(count=3, token="mine")
        assert sorted(delivery.message.id for delivery in again) == ["a", "b"]

    @promise("G11")
    def test_a_pending_id_without_a_task_is_removed(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "gone", "b"])
        lab.harness.lose("q", "gone")
        assert [delivery.message.id for delivery in lab.dequeue(count=3)] == ["a", "b"]
        assert lab.stats().size == 2
        assert lab.state("gone") is None

    @promise("G8")
    def test_the_waiting_time_ends_when_a_worker_takes_the_task(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.advance(3 * SECOND)
        assert lab.stats().latency == 3 * SECOND
        lab.take()
        assert lab.stats().latency == 0
