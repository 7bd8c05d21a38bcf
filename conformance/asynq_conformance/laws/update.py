"""Laws of UpdateTask: a new payload or due time for a task that waits, with its uniqueness lock."""

from __future__ import annotations

from typing import Literal

import pytest

from asynq.errors import DuplicateTaskError, TaskNotFoundError, TaskStateError
from asynq.protocol import ops
from asynq.protocol.uniqueness import unique_key
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, Lab, lock_name, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.laws.manage import group_of, in_a_set
from asynq_conformance.laws.unique import KEPT, UNTIL_DONE, is_held
from asynq_conformance.promises import promise

UPDATABLE = [
    TaskState.PENDING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.AGGREGATING,
]
TIMED = [TaskState.SCHEDULED, TaskState.RETRY]


@promise("G10")
class UpdateLaws(Laws):
    """Changing tasks that wait."""

    @pytest.mark.parametrize("state", UPDATABLE)
    def test_updating_a_payload_changes_nothing_else(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.task("t")
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        after = lab.task("t")
        assert after.message.payload == b"new"
        assert (after.state, after.due_at) == (before.state, before.due_at)
        assert lab.listed(state, group=group_of(state)) == ["t"]

    @pytest.mark.parametrize("state", [TaskState.ACTIVE, TaskState.COMPLETED])
    def test_the_payload_of_an_active_or_finished_task_cannot_be_updated(
        self, lab: Lab, state: TaskState
    ) -> None:
        lab.bring(state)
        with pytest.raises(TaskStateError):
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        assert lab.task("t").message.payload == b"payload"

    def test_the_payload_of_a_task_of_a_held_set_cannot_be_updated(self, lab: Lab) -> None:
        in_a_set(lab)
        with pytest.raises(TaskStateError) as refused:
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        assert refused.value.state is TaskState.AGGREGATING
        assert lab.task("t").message.payload == b"payload"

    @promise("G4")
    def test_updating_a_payload_keeps_the_lock_of_another_task(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=ops.Unique(ttl=SECOND))
        lab.advance(2 * SECOND + lab.harness.lock_precision)
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("v", lock=lock_name()), unique=UNTIL_DONE)
        renamed = unique_key("q", "type", b"new")
        lab.enqueue(lab.message("v", payload=b"new", lock=renamed), unique=UNTIL_DONE)

    def test_updating_the_payload_of_an_unknown_task_is_refused(self, lab: Lab) -> None:
        with pytest.raises(TaskNotFoundError):
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))

    @promise("G4")
    def test_updating_a_payload_moves_the_lock(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", lock=lock_name()), unique=UNTIL_DONE)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        renamed = unique_key("q", "type", b"new")
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("u", lock=renamed), unique=UNTIL_DONE)
        lab.enqueue(lab.message("v", lock=lock_name()), unique=UNTIL_DONE)
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        lab.enqueue(lab.message("u", lock=renamed), unique=UNTIL_DONE)

    @promise("G4", "G10")
    def test_a_new_payload_with_a_lock_held_by_another_task_is_refused(self, lab: Lab) -> None:
        taken = unique_key("q", "type", b"new")
        lab.enqueue(lab.message("t", lock=lock_name()), unique=UNTIL_DONE)
        lab.enqueue(lab.message("u", payload=b"new", lock=taken), unique=UNTIL_DONE)
        before = lab.picture()
        with pytest.raises(DuplicateTaskError) as duplicate:
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        assert duplicate.value.task_id == "u"
        assert lab.picture() == before
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("v", lock=lock_name()), unique=UNTIL_DONE)

    # --- due time ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", TIMED)
    @pytest.mark.parametrize("delay", [MINUTE, 3 * HOUR, 1])
    @promise("G9")
    def test_a_rescheduled_task_is_due_at_its_new_time_only(
        self, lab: Lab, state: TaskState, delay: int
    ) -> None:
        lab.bring(state)
        before = lab.task("t")
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=delay))
        after = lab.task("t")
        assert (after.state, after.due_at) == (state, whole_second(lab.now + delay))
        assert (after.message, after.result) == (before.message, before.result)
        for offset, moved in ((-1, 0), (0, 1)):
            lab.advance_to(after.due_at + offset)
            assert lab.execute(ops.Forward(queue="q")).moved == moved
        assert lab.drain() == ["t"]

    @promise("G9")
    def test_a_task_can_be_rescheduled_to_an_instant(self, lab: Lab) -> None:
        lab.bring(TaskState.SCHEDULED)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_at=lab.now + 2 * HOUR + 1))
        assert lab.task("t").due_at == whole_second(lab.now + 2 * HOUR + 1)
        assert lab.execute(ops.Forward(queue="q")).next_due == lab.task("t").due_at

    @pytest.mark.parametrize("state", TIMED)
    @pytest.mark.parametrize(("instant", "delay"), [(None, 0), (1000, None)])
    def test_a_task_rescheduled_to_the_past_is_due_now(
        self, lab: Lab, state: TaskState, instant: int | None, delay: int | None
    ) -> None:
        lab.bring(state)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_at=instant, process_in=delay))
        assert (lab.task("t").state, lab.task("t").due_at) == (state, whole_second(lab.now))
        lab.advance(SECOND)
        assert lab.execute(ops.Forward(queue="q")).moved == 1

    @promise("G7")
    def test_rescheduled_tasks_run_in_the_order_of_their_new_times(self, lab: Lab) -> None:
        for number, name in enumerate("abc", 1):
            lab.enqueue(name, delay=number * MINUTE)
        lab.execute(ops.UpdateTask(queue="q", task_id="a", process_in=5 * MINUTE))
        lab.execute(ops.UpdateTask(queue="q", task_id="c", process_in=SECOND))
        assert lab.listed(TaskState.SCHEDULED) == ["c", "b", "a"]

    @pytest.mark.parametrize("state", TIMED)
    def test_payload_and_due_time_change_in_one_step(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new", process_in=MINUTE))
        after = lab.task("t")
        assert (after.message.payload, after.due_at) == (b"new", whole_second(lab.now + MINUTE))

    @pytest.mark.parametrize("payload", [None, b"new"])
    @pytest.mark.parametrize("state", [state for state in TaskState if state not in TIMED])
    def test_a_task_without_a_due_time_cannot_be_rescheduled(
        self, lab: Lab, state: TaskState, payload: bytes | None
    ) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(TaskStateError) as refused:
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=payload, process_in=MINUTE))
        assert refused.value.state is state
        assert lab.picture() == before

    @promise("G4")
    def test_a_refused_payload_leaves_the_due_time(self, lab: Lab) -> None:
        taken = unique_key("q", "type", b"new")
        lab.enqueue(lab.message("t", lock=lock_name()), unique=UNTIL_DONE, delay=HOUR)
        lab.enqueue(lab.message("u", payload=b"new", lock=taken), unique=UNTIL_DONE)
        before = lab.picture()
        with pytest.raises(DuplicateTaskError):
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new", process_in=MINUTE))
        assert lab.picture() == before

    @pytest.mark.parametrize("until", ["done", "expiry", "start"])
    @pytest.mark.parametrize("delay", [MINUTE, 5 * HOUR])
    @promise("G4")
    def test_the_lock_of_a_scheduled_task_moves_with_its_due_time(
        self, lab: Lab, until: Literal["done", "expiry", "start"], delay: int
    ) -> None:
        lab.bring(TaskState.SCHEDULED, unique=ops.Unique(ttl=HOUR, until=until))
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=delay))
        end = lab.task("t").due_at + HOUR
        lab.advance_to(end - 1 - lab.harness.lock_precision)
        assert is_held(lab)
        lab.advance_to(end + lab.harness.lock_precision)
        assert not is_held(lab)

    @promise("G4")
    def test_a_new_payload_takes_the_moved_lock_along(self, lab: Lab) -> None:
        lab.bring(TaskState.SCHEDULED, unique=UNTIL_DONE)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new", process_in=5 * HOUR))
        renamed = unique_key("q", "type", b"new")
        lab.advance_to(lab.task("t").due_at + HOUR - 1 - lab.harness.lock_precision)
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("u", lock=renamed), unique=UNTIL_DONE)
        assert not is_held(lab)

    @promise("G4")
    def test_a_lock_of_another_task_does_not_move(self, lab: Lab) -> None:
        lab.bring(TaskState.SCHEDULED, unique=ops.Unique(ttl=SECOND, until="start"))
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="failed"))
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=5 * HOUR))
        lab.advance(HOUR + lab.harness.lock_precision)
        assert not is_held(lab)

    @promise("G4")
    def test_the_lock_of_a_retried_task_does_not_move(self, lab: Lab) -> None:
        lab.bring(TaskState.RETRY, unique=UNTIL_DONE)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=5 * HOUR))
        lab.advance(HOUR + lab.harness.lock_precision)
        assert not is_held(lab)

    @promise("G4")
    def test_a_kept_lock_lasts_until_the_new_time_of_a_retry(self, lab: Lab) -> None:
        lab.bring(TaskState.RETRY, unique=KEPT)
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=5 * HOUR))
        lab.advance_to(lab.task("t").due_at - lab.harness.lock_precision)
        assert is_held(lab)
