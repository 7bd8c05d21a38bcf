"""Laws of DeleteQueue: a queue is deleted with everything in it, or not at all."""

from __future__ import annotations

import pytest

from asynq.errors import AggregationLostError, AsynqError, QueueNotEmptyError, QueueNotFoundError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.laws.manage import DELETABLE, in_a_set
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_conformance.promises import promise


@promise("G10")
class DeletionLaws(Laws):
    """Deletion of a queue, and its effect on concurrent callers."""

    def delete(self, lab: Lab, *, force: bool = True) -> int:
        """Delete the queue in steps. Returns how many tasks were deleted with it."""
        deleted = 0
        while True:
            step = lab.execute(ops.DeleteQueue(queue="q", force=force))
            deleted += step.tasks
            if step.done:
                return deleted

    @pytest.mark.parametrize("state", TaskState)
    def test_a_queue_with_tasks_is_only_deleted_by_force(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(QueueNotEmptyError) as refused:
            self.delete(lab, force=False)
        assert (refused.value.queue, refused.value.size) == ("q", 1)
        assert lab.picture() == before

    def test_a_queue_with_a_running_task_is_never_deleted(self, lab: Lab) -> None:
        lab.bring(TaskState.ACTIVE)
        lab.enqueue("waiting")
        with pytest.raises(QueueNotEmptyError):
            self.delete(lab)
        assert lab.drain() == ["waiting"]

    @pytest.mark.parametrize("state", DELETABLE)
    def test_a_deleted_queue_leaves_nothing_behind(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state, unique=UNTIL_DONE)
        lab.execute(ops.PauseQueue(queue="q"))
        assert self.delete(lab) == 1
        assert lab.execute(ops.ListQueues()) == ()
        with pytest.raises(QueueNotFoundError):
            lab.stats()
        lab.enqueue(lab.message("t", lock=lock_name()), unique=UNTIL_DONE)
        stats = lab.stats()
        assert (stats.size, stats.paused, stats.processed, stats.processed_total) == (1, False, 0, 0)
        assert lab.drain() == ["t"]

    def test_a_queue_with_a_held_aggregation_set_can_be_deleted(self, lab: Lab) -> None:
        in_a_set(lab)
        assert self.delete(lab) == 1
        assert lab.state("t") is None

    def test_deleting_a_queue_ends_the_hold_of_its_aggregation_sets(self, lab: Lab) -> None:
        lab.enqueue_all([f"waiting-{number}" for number in range(5)])
        lab.enqueue(lab.message("t", group="g"))
        take = ops.TakeGroup(queue="q", group="g", set_id="s", grace=0, max_size=1)
        taken = lab.execute(take)
        assert taken is not None
        while lab.state("t") is not None:
            lab.execute(ops.DeleteQueue(queue="q", force=True, limit=1))
        aggregate = ops.Enqueue(message=lab.message("all"), enqueue_id="e")
        with pytest.raises(AggregationLostError):
            lab.execute(ops.FinishAggregation(taken=taken, enqueue=aggregate))

    def test_a_queue_that_is_being_deleted_delivers_no_task(self, lab: Lab) -> None:
        lab.enqueue_all([str(number) for number in range(BATCH_SIZES[-1])])
        step = lab.execute(ops.DeleteQueue(queue="q", force=True, limit=10))
        assert (step.tasks, step.done) == (10, False)
        assert lab.dequeue() == ()
        assert self.delete(lab) == BATCH_SIZES[-1] - 10

    def test_deleting_an_empty_queue_keeps_the_others(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.enqueue_all(["u"], "other")
        lab.execute(ops.Done(delivery=lab.take()))
        assert self.delete(lab, force=False) == 0
        assert lab.execute(ops.ListQueues()) == ("other",)
        assert lab.drain("other") == ["u"]

    def test_deleting_an_unknown_queue_is_refused(self, lab: Lab) -> None:
        lab.enqueue("t")
        self.delete(lab)
        with pytest.raises(QueueNotFoundError):
            self.delete(lab)

    @promise("G1")
    def test_a_task_enqueued_during_deletion_of_its_queue_stays_visible(self, lab: Lab) -> None:
        lab.enqueue_all([str(number) for number in range(ops.MAX_BATCH)])
        delete = ops.DeleteQueue(queue="q", force=True, limit=1000)
        enqueue = ops.Enqueue(message=lab.message("late"), enqueue_id="late")
        many: list[ops.Op[object]] = [delete, enqueue]
        deleted, enqueued = lab.execute_at_once(many)
        assert not isinstance(deleted, AsynqError), deleted
        assert not isinstance(enqueued, AsynqError), enqueued
        if lab.state("late") is not None:
            if not lab.harness.lists_at_once:
                lab.examine(None, repair=True)
            assert lab.execute(ops.ListQueues()) == ("q",)
            lab.execute(ops.UnpauseQueue(queue="q"))
            assert lab.drain() == ["late"]
