"""Laws of aggregation: finishing, returning and reclaiming a set of tasks taken from a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import (
    AggregationLostError,
    DuplicateTaskError,
    TaskIDConflictError,
    TaskNotFoundError,
)
from asynq.protocol import ops
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.lab import MINUTE, SECOND, Lab, lock_name, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.laws.groups import HOLD, add, groups, ids_of, take, taken_now, waiting
from asynq_conformance.laws.sequences import in_sequence, run_all
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.groups import AggregationSet


def finish(
    lab: Lab, taken: AggregationSet, task_id: str = "all", queue: str = "q", payload: bytes = b""
) -> ops.FinishAggregation:
    """The operation that finishes an aggregation with this task as its result."""
    message = replace(lab.message(task_id, queue), payload=payload)
    return ops.FinishAggregation(taken=taken, enqueue=ops.Enqueue(message=message, enqueue_id=lab.fresh()))


ENDS: dict[str, Callable[[Lab, AggregationSet], object]] = {
    "extend": lambda lab, taken: lab.execute(ops.ExtendAggregation(taken=taken, hold=HOLD)),
    "finish": lambda lab, taken: lab.execute(finish(lab, taken, "late")),
    "return": lambda lab, taken: lab.execute(ops.ReturnAggregation(taken=taken)),
}
"""Operations that require the set to be held."""

every_end = pytest.mark.parametrize("end", ENDS)


@promise("G10")
class AggregationLaws(Laws):
    """An aggregation is finished, returned or reclaimed once."""

    # --- finishing --------------------------------------------------------------------------------------

    def test_the_aggregate_replaces_its_tasks(self, lab: Lab) -> None:
        add(lab, "a", "b")
        taken = taken_now(lab)
        answer = lab.execute(finish(lab, taken, payload=b"both"))
        assert answer == ops.Enqueued(state=TaskState.PENDING, due_at=lab.now)
        assert [lab.state(task_id) for task_id in ("a", "b")] == [None, None]
        assert lab.stats().size == 1
        assert lab.take().message.payload == b"both"
        assert lab.counters() == (0, 0)

    @pytest.mark.parametrize("size", [1, 49, 50, 51, 120, ops.MAX_SET_SIZE, ops.MAX_SET_SIZE + 1])
    def test_a_set_of_any_size_can_be_taken_and_finished(self, lab: Lab, size: int) -> None:
        lab.execute_many(
            [
                ops.Enqueue(message=lab.message(f"t{number:04}", group="g"), enqueue_id=lab.fresh())
                for number in range(size)
            ]
        )
        taken = taken_now(lab)
        assert len(taken.messages) == min(size, ops.MAX_SET_SIZE)
        lab.execute(finish(lab, taken))
        left = size - len(taken.messages)
        assert (lab.stats().pending, lab.stats().aggregating) == (1, left)
        assert lab.stats().groups == int(left > 0)

    @promise("G7")
    def test_the_aggregate_may_be_in_a_sequence(self, lab: Lab) -> None:
        lab.enqueue(in_sequence(lab, "first"))
        add(lab, "a")
        taken = taken_now(lab)
        enqueue = ops.Enqueue(message=in_sequence(lab, "all"), enqueue_id="e")
        answer = lab.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
        assert answer == ops.Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        assert run_all(lab) == ["first", "all"]

    @promise("G9")
    def test_the_aggregate_may_be_scheduled(self, lab: Lab) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        enqueue = ops.Enqueue(message=lab.message("all"), enqueue_id="e", process_in=MINUTE)
        answer = lab.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
        assert answer == ops.Enqueued(state=TaskState.SCHEDULED, due_at=whole_second(lab.now + MINUTE))

    def test_a_repeated_finish_succeeds_with_the_same_answer(self, lab: Lab) -> None:
        add(lab, "a")
        ending = finish(lab, taken_now(lab))
        assert lab.execute(ending) == lab.execute(ending)
        assert lab.stats().size == 1

    @promise("G4")
    def test_the_locks_of_the_tasks_are_released(self, lab: Lab) -> None:
        message = lab.message("a", group="g", lock=lock_name())
        lab.enqueue(message, unique=ops.Unique(ttl=60 * MINUTE))
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(replace(message, id="again"), unique=ops.Unique(ttl=60 * MINUTE))
        lab.execute(finish(lab, taken_now(lab)))
        lab.enqueue(replace(message, id="again"), unique=ops.Unique(ttl=60 * MINUTE))

    @promise("G4")
    def test_finishing_a_set_keeps_a_lock_that_another_task_holds(self, lab: Lab) -> None:
        message = lab.message("a", group="g", lock=lock_name())
        lab.enqueue(message, unique=ops.Unique(ttl=SECOND))
        taken = taken_now(lab)
        lab.enqueue(replace(message, id="other", group=""), unique=ops.Unique(ttl=60 * MINUTE))
        lab.execute(finish(lab, taken))
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(replace(message, id="third"), unique=ops.Unique(ttl=60 * MINUTE))

    def test_an_aggregate_with_an_id_conflict_changes_nothing(self, lab: Lab) -> None:
        add(lab, "a")
        lab.enqueue("all")
        taken = taken_now(lab)
        before = lab.picture()
        with pytest.raises(TaskIDConflictError):
            lab.execute(finish(lab, taken))
        assert lab.picture() == before
        lab.execute(finish(lab, taken, "other"))
        assert lab.state("a") is None

    @promise("G4", "G10")
    def test_a_duplicate_aggregate_changes_nothing(self, lab: Lab) -> None:
        unique = ops.Unique(ttl=60 * MINUTE)
        lab.enqueue(lab.message("holder", lock=lock_name()), unique=unique)
        add(lab, "a")
        taken = taken_now(lab)
        before = lab.picture()
        enqueue = ops.Enqueue(message=lab.message("all", lock=lock_name()), enqueue_id="e", unique=unique)
        with pytest.raises(DuplicateTaskError):
            lab.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
        assert lab.picture() == before
        lab.execute(ops.ReturnAggregation(taken=taken))

    @pytest.mark.parametrize("task_id", ["a", "all"])
    @promise("G4", "G10")
    def test_the_aggregate_may_reuse_the_id_and_the_lock_of_one_of_its_tasks(
        self, lab: Lab, task_id: str
    ) -> None:
        unique = ops.Unique(ttl=60 * MINUTE)
        lab.enqueue(lab.message("a", group="g", lock=lock_name()), unique=unique)
        add(lab, "b")
        taken = taken_now(lab)
        enqueue = ops.Enqueue(message=lab.message(task_id, lock=lock_name()), enqueue_id="e", unique=unique)
        ending = ops.FinishAggregation(taken=taken, enqueue=enqueue)
        assert lab.execute(ending) == lab.execute(ending)
        assert (lab.stats().size, lab.state(task_id)) == (1, TaskState.PENDING)
        with pytest.raises(DuplicateTaskError) as duplicate:
            lab.enqueue(lab.message("again", lock=lock_name()), unique=unique)
        assert duplicate.value.task_id == task_id
        lab.execute(ops.DeleteTask(queue="q", task_id=task_id))
        lab.enqueue(lab.message("again", lock=lock_name()), unique=unique)

    def test_an_aggregate_for_another_queue_is_refused(self, lab: Lab) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        with pytest.raises(ValueError, match="enqueue"):
            finish(lab, taken, queue="other")

    # --- returning and reclaiming -----------------------------------------------------------------------

    @promise("G1", "G9")
    def test_a_returned_set_keeps_its_original_waiting_time(self, lab: Lab) -> None:
        add(lab, "a", "b")
        taken = taken_now(lab)
        add(lab, "c")
        lab.execute(ops.ReturnAggregation(taken=taken))
        assert waiting(lab) == ["a", "b", "c"]
        assert groups(lab)["g"].waiting > 10 * MINUTE
        assert ids_of(take(lab, max_delay=10 * MINUTE)) == ["a", "b", "c"]

    @promise("G1")
    def test_an_empty_group_is_listed_again_when_its_set_is_returned(self, lab: Lab) -> None:
        add(lab, "a")
        lab.execute(ops.ReturnAggregation(taken=taken_now(lab)))
        assert groups(lab).keys() == {"g"}

    @pytest.mark.parametrize(("offset", "reclaimed"), [(-1, 0), (SECOND, 1)])
    @promise("G9", "G11")
    def test_a_set_is_reclaimed_when_its_hold_expires(self, lab: Lab, offset: int, reclaimed: int) -> None:
        add(lab, "a", "b")
        taken_now(lab)
        lab.advance(HOLD + offset)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == reclaimed
        assert waiting(lab) == (["a", "b"] if reclaimed else [])
        assert ("g" in groups(lab)) is bool(reclaimed)

    @promise("G3")
    def test_an_extension_of_a_hold_counts_from_the_present(self, lab: Lab) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.advance(HOLD - SECOND)
        lab.execute(ops.ExtendAggregation(taken=taken, hold=HOLD))
        lab.advance(HOLD - SECOND)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 0
        lab.execute(finish(lab, taken))

    @promise("G9", "G11")
    def test_the_hold_of_an_extended_set_expires(self, lab: Lab) -> None:
        add(lab, "a")
        lab.execute(ops.ExtendAggregation(taken=taken_now(lab), hold=2 * HOLD))
        lab.advance(2 * HOLD + SECOND)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 1

    @promise("G3")
    def test_an_extension_never_shortens_a_hold(self, lab: Lab) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.execute(ops.ExtendAggregation(taken=taken, hold=SECOND))
        lab.advance(HOLD - SECOND)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 0

    @promise("G3")
    def test_a_set_with_an_expired_hold_finishes_if_it_was_not_reclaimed(self, lab: Lab) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.advance(10 * HOLD)
        lab.execute(finish(lab, taken))
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 0

    @every_end
    @promise("G3", "G10")
    def test_every_operation_on_a_reclaimed_set_fails_and_changes_nothing(self, lab: Lab, end: str) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.advance(2 * HOLD)
        lab.execute(ops.ReclaimAggregations(queue="q"))
        before = lab.picture()
        with pytest.raises(AggregationLostError):
            ENDS[end](lab, taken)
        assert lab.picture() == before

    @every_end
    @promise("G3", "G10")
    def test_a_set_that_was_taken_again_is_lost_to_its_first_holder(self, lab: Lab, end: str) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.advance(2 * HOLD)
        lab.execute(ops.ReclaimAggregations(queue="q"))
        second = taken_now(lab)
        with pytest.raises(AggregationLostError):
            ENDS[end](lab, taken)
        lab.execute(finish(lab, second))

    @every_end
    @promise("G3", "G10")
    def test_a_finished_set_is_no_longer_held(self, lab: Lab, end: str) -> None:
        add(lab, "a")
        taken = taken_now(lab)
        lab.execute(finish(lab, taken))
        with pytest.raises(AggregationLostError):
            ENDS[end](lab, taken)
        assert lab.stats().size == 1

    @promise("G11")
    def test_overdue_sets_are_reclaimed_in_order_of_expiry(self, lab: Lab) -> None:
        for name in "abc":
            add(lab, name, group=name)
            taken_now(lab, group=name)
        lab.advance(2 * HOLD)
        assert lab.execute(ops.ReclaimAggregations(queue="q", limit=2)) == 2
        assert groups(lab).keys() == {"a", "b"}
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 1
        assert groups(lab).keys() == {"a", "b", "c"}

    @promise("G1", "G11")
    def test_a_large_set_is_reclaimed_completely(self, lab: Lab) -> None:
        lab.execute_many(
            [
                ops.Enqueue(message=lab.message(f"t{number}", group="g"), enqueue_id=lab.fresh())
                for number in range(300)
            ]
        )
        taken_now(lab)
        lab.advance(2 * HOLD)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 1
        assert groups(lab)["g"].size == 300

    def test_repair_finds_nothing_in_an_undamaged_store(self, lab: Lab) -> None:
        add(lab, "a")
        add(lab, "b", group="taken")
        taken_now(lab, group="taken")
        cursor, begun = "", False
        while cursor or not begun:
            answer = lab.execute(ops.RepairGroups(queue="q", cursor=cursor))
            assert answer.listed == 0
            cursor, begun = answer.cursor, True
        assert groups(lab).keys() == {"g"}

    def test_tasks_of_a_finished_set_are_not_found(self, lab: Lab) -> None:
        add(lab, "a")
        lab.execute(finish(lab, taken_now(lab)))
        with pytest.raises(TaskNotFoundError):
            lab.task("a")
