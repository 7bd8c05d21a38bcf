"""Laws of management by operators: RunTask, ArchiveTask, DeleteTask, MoveTasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.errors import (
    DuplicateTaskError,
    QueueNotFoundError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, SECOND, Lab, lock_name, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.ops.manage import MoveTarget

RUNNABLE = [
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.COMPLETED,
    TaskState.AGGREGATING,
]
ARCHIVABLE = [
    TaskState.PENDING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.COMPLETED,
    TaskState.AGGREGATING,
]
DELETABLE = [state for state in TaskState if state is not TaskState.ACTIVE]
REFUSED_CASES: list[tuple[type[ops.RunTask | ops.ArchiveTask | ops.DeleteTask], TaskState]] = [
    (ops.RunTask, TaskState.ACTIVE),
    (ops.RunTask, TaskState.PENDING),
    (ops.ArchiveTask, TaskState.ACTIVE),
    (ops.ArchiveTask, TaskState.ARCHIVED),
    (ops.DeleteTask, TaskState.ACTIVE),
]


def group_of(state: TaskState) -> str:
    """The group in which `Lab.bring` puts a task of this state."""
    return "g" if state is TaskState.AGGREGATING else ""


def in_a_set(lab: Lab, task_id: str = "t") -> None:
    """Put the task into an aggregation set that is held."""
    lab.enqueue(lab.message(task_id, group="g"))
    take = ops.TakeGroup(queue="q", group="g", set_id="s", grace=0, max_size=1)
    assert lab.execute(take) is not None


@promise("G10")
class ManageLaws(Laws):
    """Moving, deleting and changing tasks manually."""

    # --- run ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", RUNNABLE)
    @promise("G7")
    def test_a_task_run_manually_is_appended_to_the_pending_tasks(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        lab.enqueue("first")
        lab.advance(SECOND)
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        stored = lab.task("t")
        assert (stored.state, stored.pending_since) == (TaskState.PENDING, lab.now)
        assert lab.listed(state, group=group_of(state)) == []
        assert lab.drain() == ["first", "t"]

    def test_a_group_task_run_manually_does_not_rejoin_its_group_on_retry(self, lab: Lab) -> None:
        lab.bring(TaskState.AGGREGATING)
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        assert lab.stats().groups == 0
        lab.execute(ops.Retry(delivery=lab.take(), delay=SECOND, error="e"))
        lab.advance(2 * SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert lab.state("t") is TaskState.PENDING

    @pytest.mark.parametrize(("operation", "state"), REFUSED_CASES)
    def test_a_move_from_a_disallowed_state_is_refused_and_changes_nothing(
        self, lab: Lab, operation: type[ops.RunTask | ops.ArchiveTask | ops.DeleteTask], state: TaskState
    ) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(TaskStateError) as refused:
            lab.execute(operation(queue="q", task_id="t"))
        assert (refused.value.queue, refused.value.task_id, refused.value.state) == ("q", "t", state)
        assert lab.picture() == before

    @pytest.mark.parametrize("operation", [ops.RunTask, ops.ArchiveTask, ops.DeleteTask])
    def test_a_task_of_a_held_set_is_not_moved(
        self, lab: Lab, operation: type[ops.RunTask | ops.ArchiveTask | ops.DeleteTask]
    ) -> None:
        in_a_set(lab)
        with pytest.raises(TaskStateError) as refused:
            lab.execute(operation(queue="q", task_id="t"))
        assert refused.value.state is TaskState.AGGREGATING
        assert lab.state("t") is TaskState.AGGREGATING

    @pytest.mark.parametrize("operation", [ops.RunTask, ops.ArchiveTask, ops.DeleteTask])
    @pytest.mark.parametrize("queue", ["q", "unheard-of"])
    def test_moving_an_unknown_task_is_refused(
        self, lab: Lab, operation: type[ops.RunTask | ops.ArchiveTask | ops.DeleteTask], queue: str
    ) -> None:
        lab.enqueue("t")
        with pytest.raises(TaskNotFoundError):
            lab.execute(operation(queue=queue, task_id="missing"))

    def test_two_moves_of_a_task_in_a_batch_move_it_once(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED)
        run = ops.RunTask(queue="q", task_id="t")
        answers = lab.execute_many([run, run])
        assert [answer for answer in answers if not isinstance(answer, TaskStateError)] == [None]
        assert lab.listed(TaskState.PENDING) == ["t"]

    # --- archive, delete --------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", ARCHIVABLE)
    @promise("G8")
    def test_archiving_a_task_manually_changes_no_counter(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.counters()
        lab.execute(ops.ArchiveTask(queue="q", task_id="t"))
        stored = lab.task("t")
        assert (stored.state, stored.due_at) == (TaskState.ARCHIVED, whole_second(lab.now))
        assert lab.listed(state, group=group_of(state)) == []
        assert lab.counters() == before
        assert lab.drain() == []

    @pytest.mark.parametrize(("limit", "left"), [(0, []), (1, ["c"]), (2, ["b", "c"]), (3, ["a", "b", "c"])])
    def test_archiving_manually_trims_the_archive(self, lab: Lab, limit: int, left: list[str]) -> None:
        for name in "abc":
            lab.enqueue(name)
            lab.execute(ops.ArchiveTask(queue="q", task_id=name, max_size=limit))
            lab.advance(SECOND)
        assert lab.listed(TaskState.ARCHIVED) == left
        assert [name for name in "abc" if lab.state(name)] == left

    def test_a_refused_archiving_does_not_trim_the_archive(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, "old")
        lab.enqueue("t")
        names = ["t", "missing", "t", "old", "t"]
        archive = [ops.ArchiveTask(queue="q", task_id=name, max_size=2) for name in names]
        assert [type(answer) for answer in lab.execute_many(archive)] == [
            *(type(None), TaskNotFoundError, TaskStateError, TaskStateError, TaskStateError),
        ]
        assert lab.listed(TaskState.ARCHIVED) == ["old", "t"]

    @pytest.mark.parametrize("state", DELETABLE)
    @promise("G4")
    def test_deleting_a_task_releases_its_lock(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state, unique=UNTIL_DONE)
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        assert lab.state("t") is None
        assert lab.stats().size == 0
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)

    @promise("G4")
    def test_deleting_a_task_keeps_the_lock_of_another(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED, unique=ops.Unique(ttl=SECOND))
        lab.advance(2 * SECOND + lab.harness.lock_precision)
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("v", lock=lock_name()), unique=UNTIL_DONE)

    def test_an_undecodable_task_can_be_deleted(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.harness.corrupt("q", "t")
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        assert lab.stats().size == 0
        lab.enqueue("t")
        assert lab.drain() == ["t"]

    # --- many tasks -------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("state", "to"),
        [
            (state, to)
            for state in (TaskState.PENDING, TaskState.SCHEDULED, TaskState.AGGREGATING)
            for to in ("pending", "archived", "deleted")
            if state != to
        ],
    )
    def test_all_tasks_of_a_state_are_moved_once(self, lab: Lab, state: TaskState, to: MoveTarget) -> None:
        size = BATCH_SIZES[-1]
        names = [f"{number:03d}" for number in range(size)]
        for name in names:
            lab.bring(state, name)
        lab.bring(TaskState.ARCHIVED if state is not TaskState.PENDING else TaskState.SCHEDULED, "other")
        move = ops.MoveTasks(queue="q", state=state, to=to, group=group_of(state), limit=70)
        assert [lab.execute(move) for _ in range(3)] == [70, size - 70, 0]
        expected = {"pending": TaskState.PENDING, "archived": TaskState.ARCHIVED, "deleted": None}[to]
        assert {lab.state(name) for name in names} == {expected}
        assert lab.listed(state, group=group_of(state)) == []
        if expected is not None:
            assert sorted({*lab.listed(expected)} - {"other"}) == names

    @pytest.mark.parametrize("state", [TaskState.RETRY, TaskState.ARCHIVED, TaskState.COMPLETED])
    def test_finished_tasks_can_be_run_again(self, lab: Lab, state: TaskState) -> None:
        for name in "abc":
            lab.bring(state, name)
            lab.advance(SECOND)
        assert lab.execute(ops.MoveTasks(queue="q", state=state, to="pending", limit=2)) == 2
        assert lab.drain() == ["a", "b"]
        assert lab.listed(state) == ["c"]

    def test_moving_a_group_leaves_other_groups_unchanged(self, lab: Lab) -> None:
        for group in "ab":
            lab.enqueue(lab.message(f"in-{group}", group=group))
        move = ops.MoveTasks(queue="q", state=TaskState.AGGREGATING, to="pending", group="a")
        assert lab.execute(move) == 1
        assert (lab.state("in-a"), lab.state("in-b")) == (TaskState.PENDING, TaskState.AGGREGATING)
        assert lab.stats().groups == 1

    @promise("G4")
    def test_deleting_many_tasks_releases_their_locks(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", lock=lock_name()), unique=UNTIL_DONE)
        assert lab.execute(ops.MoveTasks(queue="q", state=TaskState.PENDING, to="deleted")) == 1
        lab.enqueue(lab.message("u", lock=lock_name()), unique=UNTIL_DONE)

    @promise("G11")
    def test_moving_all_tasks_removes_ids_without_a_task(self, lab: Lab) -> None:
        lab.enqueue_all(["a", "b", "c"])
        lab.harness.lose("q", "b")
        move = ops.MoveTasks(queue="q", state=TaskState.PENDING, to="archived")
        assert lab.execute(move) == 2
        assert lab.stats().pending == 0
        assert lab.listed(TaskState.ARCHIVED) == ["a", "c"]

    def test_moving_tasks_of_an_unknown_queue_is_refused(self, lab: Lab) -> None:
        with pytest.raises(QueueNotFoundError):
            lab.execute(ops.MoveTasks(queue="q", state=TaskState.PENDING, to="deleted"))
