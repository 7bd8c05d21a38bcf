"""Laws of inspection, repair and cancellation: GetHistory, GetMemory, DescribeBroker, Examine, CancelTask."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest

from asynq.errors import QueueNotFoundError
from asynq.protocol import ops
from asynq.protocol.doctor import Fault, Finding
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, LEASE, MINUTE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

DAY = 24 * HOUR


@promise("G10")
class InspectLaws(Laws):
    """History, memory usage, damage, and cancellation of runs."""

    # --- history, memory --------------------------------------------------------------------------------

    @promise("G8")
    def test_history_lists_days_starting_with_today(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "yesterday")
        lab.advance(DAY)
        lab.enqueue("today")
        lab.execute(ops.Done(delivery=lab.take()))
        days = lab.execute(ops.GetHistory(queue="q", days=3))
        today = datetime.fromtimestamp(lab.now / 1000, UTC).date()
        assert [day.date for day in days] == [today - timedelta(days=number) for number in range(3)]
        assert [(day.processed, day.failed) for day in days] == [(1, 0), (1, 1), (0, 0)]
        assert {day.queue for day in days} == {"q"}

    def test_memory_usage_grows_with_the_stored_tasks(self, lab: Lab) -> None:
        lab.enqueue(lab.message("small"))
        before = lab.execute(ops.GetMemory(queue="q"))
        lab.enqueue(lab.message("large", payload=bytes(100_000)))
        assert before > 0
        assert lab.execute(ops.GetMemory(queue="q")) - before >= 100_000

    def test_history_and_memory_of_an_unknown_queue_are_refused(self, lab: Lab) -> None:
        with pytest.raises(QueueNotFoundError):
            lab.execute(ops.GetHistory(queue="q", days=1))
        with pytest.raises(QueueNotFoundError):
            lab.execute(ops.GetMemory(queue="q"))

    # --- the store --------------------------------------------------------------------------------------

    def test_a_broker_says_what_it_is_and_describes_its_nodes(self, lab: Lab) -> None:
        info = lab.execute(ops.DescribeBroker())
        assert info.backend == lab.broker.capabilities.backend
        assert info.product
        addresses = [node.address for node in info.nodes]
        assert len(addresses) == len(set(addresses)) > 0
        assert all(node.reachable for node in info.nodes)
        assert all(node.primary in addresses for node in info.nodes if node.primary)
        assert (info.topology == "embedded") == ({node.role for node in info.nodes} <= {"file", "memory"})
        assert info.places == ()

    def test_a_broker_says_which_node_takes_the_writes_of_a_queue(self, lab: Lab) -> None:
        names = ["q", *(f"queue-{number}" for number in range(20))]
        lab.enqueue_all(["t"])
        before = lab.picture()
        info = lab.execute(ops.DescribeBroker(queues=tuple(names)))
        assert [place.queue for place in info.places] == names
        nodes = {node.address: node for node in info.nodes}
        assert {place.node for place in info.places} <= nodes.keys()
        for place in info.places:
            node = nodes[place.node]
            assert node.role in {"primary", "file", "memory"}
            assert {nodes[each].primary for each in place.replicas} <= {place.node}
            assert (place.slot is not None) == (info.topology == "cluster")
            if place.slot is not None:
                assert any(first <= place.slot <= last for first, last in node.slots)
        assert lab.picture() == before

    # --- cancellation -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("then", ["archive", "retry"])
    @pytest.mark.parametrize("queue", ["q", None])
    def test_extending_the_lease_of_a_cancelled_run_reports_the_cancellation(
        self, lab: Lab, queue: str | None, then: Literal["archive", "retry"]
    ) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == ""
        assert lab.execute(ops.CancelTask(task_id="t", queue=queue, then=then)) is True
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == then

    @pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.ACTIVE])
    def test_only_a_running_task_can_be_cancelled(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        assert lab.execute(ops.CancelTask(task_id="t")) is False
        assert lab.execute(ops.CancelTask(task_id="missing", queue="q")) is False

    def test_cancellation_does_not_affect_the_same_id_in_another_queue(self, lab: Lab) -> None:
        lab.enqueue_all(["t"], "q")
        lab.enqueue_all(["t"], "other")
        delivery, other = lab.take("q"), lab.take("other")
        assert lab.execute(ops.CancelTask(task_id="t", queue="q")) is True
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == "archive"
        assert lab.execute(ops.ExtendLease(lease=other.lease, duration=LEASE)).cancel == ""

    @promise("G9")
    def test_a_cancellation_persists_when_its_worker_is_lost(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.recover(delivery)
        assert lab.take().cancel == "archive"

    def test_a_cancellation_with_archive_persists_through_a_failed_run(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().cancel == "archive"

    def test_a_task_cancelled_with_retry_runs_again(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t", then="retry"))
        lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().cancel == ""

    def test_running_a_task_manually_removes_its_cancellation(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.execute(ops.Retry(delivery=delivery, delay=HOUR, error="e"))
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        assert lab.take().cancel == ""

    # --- damage -----------------------------------------------------------------------------------------

    def test_a_consistent_queue_has_no_findings(self, lab: Lab) -> None:
        for state in sorted(TaskState, key=lambda state: state is TaskState.PENDING):
            lab.bring(state, state.value)
        lab.enqueue_all([f"more-{number}" for number in range(120)])
        before = lab.picture()
        assert lab.examine(repair=True) == set()
        assert lab.examine(None, repair=True) == set()
        assert lab.picture() == before

    @promise("G1", "G11")
    def test_an_active_task_without_a_lease_is_found_and_repaired(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.take()
        lab.harness.strand("q", "t")
        missing = {Finding(fault=Fault.MISSING_LEASE, queue="q", name="t")}
        assert lab.examine() == missing
        assert lab.examine(repair=True) == missing
        assert lab.examine() == set()
        lab.advance(MINUTE)
        (lost,) = lab.execute(ops.ListLostLeases(queue="q")).leases
        assert lost.message.id == "t"

    @pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.AGGREGATING])
    @promise("G11")
    def test_an_id_without_a_task_is_found_and_removed(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        lab.harness.lose("q", "t")
        missing = {Finding(fault=Fault.MISSING_TASK, queue="q", name="t")}
        assert lab.examine() == missing
        assert lab.examine(repair=True) == missing
        assert lab.examine() == set()
        assert lab.stats().size == 0
