"""Laws of the operations that move a task from one broker to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.errors import (
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.protocol import ops
from asynq.protocol.followers import HELD, PARENT_RETENTION
from asynq.protocol.transfer import PARKED, TaskImage
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.manage import group_of, in_a_set
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

MOVABLE = [state for state in TaskState if state is not TaskState.ACTIVE]
every_state = pytest.mark.parametrize("state", MOVABLE)


def export(lab: Lab, task_id: str = "t", *, park: bool = True) -> TaskImage:
    """The image of the task, which is parked."""
    return lab.execute(ops.ExportTask(queue="q", task_id=task_id, park=park))


def release(lab: Lab, task_id: str = "t", to: Any = "restored") -> bool:
    """Whether the task was parked."""
    return lab.execute(ops.ReleaseTask(queue="q", task_id=task_id, to=to))


def parked(lab: Lab) -> list[str]:
    """Ids of the parked tasks of the queue."""
    return sorted(lab.execute(ops.ListParked(queue="q")))


def take_over(lab: Lab, image: TaskImage) -> bool:
    """Import an image."""
    return lab.execute(ops.ImportTask(image=image))


def transfer(lab: Lab, *ids: str) -> None:
    """Move tasks out of the broker and into it again, as from one broker to another."""
    images = [export(lab, task_id) for task_id in ids]
    for image in images:
        assert release(lab, image.message.id, "deleted")
    for image in images:
        assert take_over(lab, image)
    for image in images:
        assert release(lab, image.message.id)


def pending_image(message: TaskMessage, **fields: Any) -> TaskImage:
    """The image of a pending task with this message."""
    return TaskImage(message=message, state=TaskState.PENDING, pending_since=1000, **fields)


@promise("G1", "G10")
class TransferLaws(Laws):
    """Parking, importing and restoring tasks."""

    @every_state
    def test_a_transferred_task_is_as_it_was(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.task()
        lab.advance(MINUTE)
        transfer(lab, "t")
        assert lab.task() == before
        assert lab.listed(state, group=group_of(state)) == ["t"]
        assert lab.stats().size == 1

    @every_state
    @promise("G10")
    def test_a_task_that_is_restored_is_as_it_was(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        export(lab)
        assert release(lab)
        assert lab.picture() == before

    @every_state
    def test_an_image_states_what_the_task_is(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        image, task = export(lab, park=False), lab.task()
        assert (image.message, image.state, image.result) == (task.message, state, task.result)
        assert image.pending_since == task.pending_since
        if state is not TaskState.AGGREGATING:
            assert image.due_at == task.due_at

    @every_state
    def test_an_export_without_parking_changes_nothing(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        export(lab, park=False)
        assert lab.picture() == before
        assert parked(lab) == []

    @every_state
    @promise("G3")
    def test_a_parked_task_is_out_of_reach(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        image = export(lab)
        assert (lab.task().state, lab.task().due_at) == (TaskState.SCHEDULED, PARKED)
        assert lab.task().pending_since == 0
        assert parked(lab) == ["t"]
        lab.advance(3 * HOUR)
        lab.execute(ops.Forward(queue="q"))
        lab.execute(ops.PurgeCompleted(queue="q"))
        lab.execute(ops.TrimArchive(queue="q", max_size=0))
        assert lab.dequeue() == ()
        assert lab.execute(ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="pending")) == 0
        for op in (
            ops.RunTask(queue="q", task_id="t"),
            ops.UpdateTask(queue="q", task_id="t", payload=b"new"),
            ops.UpdateTask(queue="q", task_id="t", process_in=SECOND),
        ):
            with pytest.raises(TaskStateError) as refused:
                lab.execute(op)
            assert refused.value.state is TaskState.SCHEDULED
        assert export(lab) == image

    def test_a_member_of_a_group_that_is_parked_is_not_aggregated(self, lab: Lab) -> None:
        lab.bring(TaskState.AGGREGATING)
        export(lab)
        lab.advance(HOUR)
        assert lab.execute(ops.TakeGroup(queue="q", group="g", set_id="s", grace=SECOND)) is None
        assert lab.execute(ops.ListGroups(queue="q")).groups == ()
        release(lab)
        taken = lab.execute(ops.TakeGroup(queue="q", group="g", set_id="s", grace=SECOND))
        assert taken is not None
        assert [message.id for message in taken.messages] == ["t"]

    def test_a_scheduled_task_still_joins_its_group(self, lab: Lab) -> None:
        lab.enqueue(lab.message(group="g"), delay=MINUTE)
        transfer(lab, "t")
        lab.advance(HOUR)
        assert lab.execute(ops.Forward(queue="q")).moved == 1
        assert lab.listed(TaskState.AGGREGATING, group="g") == ["t"]

    @promise("G9")
    @pytest.mark.parametrize("state", [TaskState.SCHEDULED, TaskState.RETRY])
    def test_a_restored_task_is_due_when_it_was(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        due = lab.task().due_at
        transfer(lab, "t")
        for offset, moved in ((-1, 0), (0, 1)):
            lab.advance_to(due + offset)
            assert lab.execute(ops.Forward(queue="q")).moved == moved
        assert lab.drain() == ["t"]

    @pytest.mark.parametrize("call", [1, 50, 120])
    @promise("G7")
    def test_pending_tasks_keep_their_order(self, lab: Lab, call: int) -> None:
        ids = [f"t{number:03}" for number in range(call)]
        lab.enqueue_all(ids)
        images = lab.execute_many([ops.ExportTask(queue="q", task_id=name, park=True) for name in ids])
        gone = [ops.ReleaseTask(queue="q", task_id=name, to="deleted") for name in ids]
        assert lab.execute_many(gone) == [True] * call
        made = [ops.ImportTask(image=image) for image in images if isinstance(image, TaskImage)]
        assert lab.execute_many(made) == [True] * call
        lab.enqueue("later")
        back = [ops.ReleaseTask(queue="q", task_id=name, to="restored") for name in ids]
        assert lab.execute_many(back) == [True] * call
        assert lab.drain() == ["later", *ids]

    @promise("G8")
    def test_retries_errors_results_and_losses_are_kept(self, lab: Lab) -> None:
        lab.enqueue(lab.message(max_retry=7))
        lost = lab.take()
        lab.execute(ops.WriteResult(lease=lost.lease, result=b"\0half\xff"))
        lab.recover(lost, "retry")
        lab.advance(SECOND)
        lab.execute(ops.Forward(queue="q"))
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="no \N{SNOWMAN}"))
        before, counted = lab.task(), lab.counters()
        transfer(lab, "t")
        assert lab.task() == before
        assert (before.message.retried, before.message.error) == (2, "no \N{SNOWMAN}")
        assert before.result == b"\0half\xff"
        lab.advance(2 * HOUR)
        lab.execute(ops.Forward(queue="q"))
        assert lab.take().lease_losses == 1
        assert lab.counters() == counted

    def test_a_cancellation_is_kept(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.CancelTask(task_id="t", queue="q", then="retry"))
        lab.execute(ops.Requeue(delivery=delivery))
        transfer(lab, "t")
        assert lab.take().cancel == "retry"

    def test_everything_of_a_message_is_kept(self, lab: Lab) -> None:
        message = replace(
            lab.message("\N{SNOWMAN} {x}", retention=60),
            payload=bytes(range(256)) * 40,
            headers={"a": "1", "\N{SNOWMAN}": "\n"},
            deadline=5_000_000_000,
        )
        lab.enqueue(message)
        transfer(lab, message.id)
        assert lab.task(message.id).message == message
        assert lab.take().message == message

    def test_an_image_states_its_group(self, lab: Lab) -> None:
        lab.bring(TaskState.AGGREGATING)
        added = -(-lab.now // SECOND) * SECOND
        lab.advance(MINUTE)
        image = export(lab)
        assert (image.group, image.due_at) == ("g", added)

    # --- who may be parked ------------------------------------------------------------------------------

    @pytest.mark.parametrize("park", [True, False])
    @promise("G3")
    def test_an_active_task_is_not_exported(self, lab: Lab, park: bool) -> None:
        lab.bring(TaskState.ACTIVE)
        before = lab.picture()
        with pytest.raises(TaskStateError) as refused:
            export(lab, park=park)
        assert refused.value.state is TaskState.ACTIVE
        assert lab.picture() == before

    @promise("G3")
    def test_a_task_of_a_held_set_is_not_exported(self, lab: Lab) -> None:
        in_a_set(lab)
        with pytest.raises(TaskStateError) as refused:
            export(lab)
        assert refused.value.state is TaskState.AGGREGATING
        assert parked(lab) == []

    @promise("G3")
    def test_a_parent_is_exported_unless_a_server_holds_it(self, lab: Lab) -> None:
        lab.enqueue(lab.message(retention=PARENT_RETENTION))
        lab.execute(ops.Complete(delivery=lab.take()))
        due = lab.task().due_at
        transfer(lab, "t")
        assert lab.task().due_at == due
        [taken] = lab.execute(ops.TakeParents(queue="q", hold=MINUTE))
        with pytest.raises(TaskStateError) as refused:
            export(lab)
        assert refused.value.state is TaskState.COMPLETED
        assert lab.task() == taken
        lab.advance_to(taken.due_at - HELD * SECOND - 1)
        with pytest.raises(TaskStateError):
            export(lab)
        lab.advance(1)
        export(lab)
        assert lab.execute(ops.TakeParents(queue="q", hold=MINUTE)) == ()

    @pytest.mark.parametrize("park", [True, False])
    def test_an_unknown_task_is_not_exported(self, lab: Lab, park: bool) -> None:
        lab.enqueue("u")
        with pytest.raises(TaskNotFoundError):
            export(lab, park=park)

    # --- again --------------------------------------------------------------------------------------------

    @every_state
    def test_a_parked_task_is_exported_as_it_was_before(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state, unique=UNTIL_DONE)
        first = export(lab)
        again = export(lab)
        assert replace(again, lock=first.lock) == first
        assert release(lab)
        assert lab.state() is state

    @every_state
    @promise("G1")
    def test_an_import_that_is_repeated_changes_nothing(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        image = export(lab)
        release(lab, to="deleted")
        assert take_over(lab, image)
        before = lab.picture()
        assert not take_over(lab, image)
        assert lab.picture() == before
        release(lab)
        before = lab.picture()
        assert not take_over(lab, image)
        assert lab.picture() == before

    @promise("G3")
    def test_an_import_that_is_repeated_does_not_disturb_a_run(self, lab: Lab) -> None:
        lab.enqueue("t")
        image = export(lab)
        release(lab, to="deleted")
        take_over(lab, image)
        release(lab)
        delivery = lab.take()
        assert not take_over(lab, image)
        lab.execute(ops.Retry(delivery=delivery, delay=HOUR, error="failed"))
        assert not take_over(lab, image)
        assert lab.state() is TaskState.RETRY

    @every_state
    def test_another_task_of_the_id_is_not_overwritten(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(TaskIDConflictError) as conflict:
            take_over(lab, pending_image(lab.message(payload=b"other")))
        assert conflict.value.state is state
        assert lab.picture() == before

    def test_an_image_of_other_content_is_a_conflict(self, lab: Lab) -> None:
        image = pending_image(lab.message())
        take_over(lab, image)
        before = lab.picture()
        for other in (
            replace(image, message=replace(image.message, payload=b"other")),
            replace(image, message=replace(image.message, retried=1)),
            replace(image, result=b"result"),
        ):
            with pytest.raises(TaskIDConflictError):
                take_over(lab, other)
        assert lab.picture() == before

    @every_state
    def test_only_a_parked_task_is_released(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        assert not release(lab)
        assert not release(lab, to="deleted")
        assert not release(lab, "unknown")
        assert lab.picture() == before

    def test_a_task_is_released_once(self, lab: Lab) -> None:
        lab.enqueue("t")
        export(lab)
        assert release(lab)
        assert not release(lab, to="deleted")
        assert lab.drain() == ["t"]

    @promise("G10")
    def test_a_batch_releases_a_task_once(self, lab: Lab) -> None:
        lab.enqueue_all(["t", "u"])
        for task_id in "tu":
            export(lab, task_id)
        back = [ops.ReleaseTask(queue="q", task_id=name, to="restored") for name in ("t", "u", "t")]
        assert lab.execute_many(back)[:2] == [True, True]
        assert lab.drain() == ["t", "u"]

    def test_parked_tasks_are_listed_in_pages(self, lab: Lab) -> None:
        assert parked(lab) == []
        lab.enqueue_all(["a", "b", "c"])
        lab.enqueue("d", delay=HOUR)
        for task_id in "abc":
            export(lab, task_id)
        pages = [lab.execute(ops.ListParked(queue="q", offset=offset, limit=2)) for offset in range(0, 6, 2)]
        assert [len(page) for page in pages] == [2, 1, 0]
        assert sorted(sum(pages, ())) == ["a", "b", "c"]
        release(lab, "b")
        release(lab, "c", "deleted")
        assert parked(lab) == ["a"]

    def test_an_import_lists_the_queue(self, lab: Lab) -> None:
        take_over(lab, replace(pending_image(lab.message())))
        assert lab.execute(ops.ListQueues()) == ("q",)
        assert lab.stats().scheduled == 1

    def test_a_paused_queue_takes_tasks_and_gives_them(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.PauseQueue(queue="q"))
        transfer(lab, "t")
        assert lab.dequeue() == ()
        lab.execute(ops.UnpauseQueue(queue="q"))
        assert lab.drain() == ["t"]

    @pytest.mark.parametrize("to", ["archived", "deleted"])
    def test_a_parked_task_can_be_removed_by_hand(self, lab: Lab, to: str) -> None:
        lab.enqueue("t")
        export(lab)
        by_hand: ops.Op[None] = (
            ops.ArchiveTask(queue="q", task_id="t")
            if to == "archived"
            else ops.DeleteTask(queue="q", task_id="t")
        )
        lab.execute(by_hand)
        assert parked(lab) == []
        assert not release(lab)
        assert lab.state() is (TaskState.ARCHIVED if to == "archived" else None)
