"""Laws of looking further, and of cancelling: GetHistory, GetMemory, Examine, CancelTask."""

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
    """What operators see of the past, of damage, and of runs they want to end."""

    # --- history, memory --------------------------------------------------------------------------------

    @promise("G8")
    def test_history_tells_each_day_today_first(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "yesterday")
        lab.advance(DAY)
        lab.enqueue("today")
        lab.execute(ops.Done(delivery=lab.take()))
        days = lab.execute(ops.GetHistory(queue="q", days=3))
        today = datetime.fromtimestamp(lab.now / 1000, UTC).date()
        assert [day.date for day in days] == [today - timedelta(days=number) for number in range(3)]
        assert [(day.processed, day.failed) for day in days] == [(1, 0), (1, 1), (0, 0)]
        assert {day.queue for day in days} == {"q"}

    def test_memory_grows_with_what_is_stored(self, lab: Lab) -> None:
        lab.enqueue(lab.message("small"))
        before = lab.execute(ops.GetMemory(queue="q"))
        lab.enqueue(lab.message("large", payload=bytes(100_000)))
        assert before > 0
        assert lab.execute(ops.GetMemory(queue="q")) - before >= 100_000

    def test_a_queue_that_does_not_exist_has_no_past_and_takes_no_memory(self, lab: Lab) -> None:
        with pytest.raises(QueueNotFoundError):
            lab.execute(ops.GetHistory(queue="q", days=1))
        with pytest.raises(QueueNotFoundError):
            lab.execute(ops.GetMemory(queue="q"))

    # --- cancellation -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("then", ["archive", "retry"])
    @pytest.mark.parametrize("queue", ["q", None])
    def test_a_cancelled_run_is_told_when_it_extends_its_lease(
        self, lab: Lab, queue: str | None, then: Literal["archive", "retry"]
    ) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == ""
        assert lab.execute(ops.CancelTask(task_id="t", queue=queue, then=then)) is True
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == then

    @pytest.mark.parametrize("state", [state for state in TaskState if state is not TaskState.ACTIVE])
    def test_only_a_running_task_is_cancelled(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        assert lab.execute(ops.CancelTask(task_id="t")) is False
        assert lab.execute(ops.CancelTask(task_id="missing", queue="q")) is False

    def test_the_same_id_in_another_queue_runs_on(self, lab: Lab) -> None:
        lab.enqueue_all(["t"], "q")
        lab.enqueue_all(["t"], "other")
        delivery, other = lab.take("q"), lab.take("other")
        assert lab.execute(ops.CancelTask(task_id="t", queue="q")) is True
        assert lab.execute(ops.ExtendLease(lease=delivery.lease, duration=LEASE)).cancel == "archive"
        assert lab.execute(ops.ExtendLease(lease=other.lease, duration=LEASE)).cancel == ""

    @promise("G9")
    def test_a_cancellation_outlives_the_worker_that_did_not_hear_of_it(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.recover(delivery)
        assert lab.take().cancel == "archive"

    def test_a_task_to_be_archived_that_failed_by_itself_is_told_at_its_next_run(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().cancel == "archive"

    def test_a_task_retried_as_asked_runs_again(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t", then="retry"))
        lab.execute(ops.Retry(delivery=delivery, delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().cancel == ""

    def test_a_task_that_is_run_by_hand_is_cancelled_no_longer(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t"))
        lab.execute(ops.Retry(delivery=delivery, delay=HOUR, error="e"))
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        assert lab.take().cancel == ""

    # --- damage -----------------------------------------------------------------------------------------

    def test_a_sound_queue_has_nothing_to_find(self, lab: Lab) -> None:
        for state in sorted(TaskState, key=lambda state: state is TaskState.PENDING):
            lab.bring(state, state.value)
        lab.enqueue_all([f"more-{number}" for number in range(120)])
        before = lab.picture()
        assert lab.examine(repair=True) == set()
        assert lab.examine(None, repair=True) == set()
        assert lab.picture() == before

    @promise("G1", "G11")
    def test_an_active_task_without_a_lease_is_found_and_given_one(self, lab: Lab) -> None:
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
    def test_an_id_without_a_task_is_found_and_dropped(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        lab.harness.lose("q", "t")
        missing = {Finding(fault=Fault.MISSING_TASK, queue="q", name="t")}
        assert lab.examine() == missing
        assert lab.examine(repair=True) == missing
        assert lab.examine() == set()
        assert lab.stats().size == 0
