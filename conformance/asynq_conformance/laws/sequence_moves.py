"""Laws of moving tasks of sequences by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.errors import TaskStateError
from asynq.protocol import ops
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.sequences import ENDS, enqueue, in_sequence, run_all, states
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from asynq_conformance.laws.sequences import Settle

REMOVALS: dict[str, Callable[[str], ops.Op[None]]] = {
    "archive": lambda task_id: ops.ArchiveTask(queue="q", task_id=task_id),
    "delete": lambda task_id: ops.DeleteTask(queue="q", task_id=task_id),
}
every_removal = pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS.keys())


def _move_all(to: Any, **options: Any) -> Callable[[Lab], object]:
    return lambda lab: lab.execute(
        ops.MoveTasks(queue="q", state=TaskState.PENDING, to=to, limit=100, **options)
    )


def _complete_and_purge(lab: Lab) -> None:
    lab.execute(ops.Complete(delivery=lab.take()))
    lab.advance(HOUR)
    assert lab.execute(ops.PurgeCompleted(queue="q")) == 1


def _archive_and_trim(lab: Lab) -> None:
    lab.execute(ops.Archive(delivery=lab.take(), error="final"))
    assert lab.execute(ops.TrimArchive(queue="q", max_size=0)) == 1


LAST_ENDS: dict[str, Callable[[Lab], object]] = {
    "done": lambda lab: lab.execute(ops.Done(delivery=lab.take())),
    "completed": lambda lab: lab.execute(ops.Complete(delivery=lab.take())),
    "archived": lambda lab: lab.execute(ops.Archive(delivery=lab.take(), error="final")),
    "dropped": lambda lab: lab.execute(ops.Archive(delivery=lab.take(), error="final", max_size=0)),
    "archived by hand": lambda lab: lab.execute(ops.ArchiveTask(queue="q", task_id="a")),
    "dropped by hand": lambda lab: lab.execute(ops.ArchiveTask(queue="q", task_id="a", max_size=0)),
    "deleted by hand": lambda lab: lab.execute(ops.DeleteTask(queue="q", task_id="a")),
    "all archived": _move_all("archived"),
    "all dropped": _move_all("archived", max_size=0),
    "all deleted": _move_all("deleted"),
    "recovered": lambda lab: lab.recover(lab.take(), "archived"),
    "purged": _complete_and_purge,
    "trimmed": _archive_and_trim,
}
"""Every way in which the last task of a sequence, "a", can end."""


@promise("G7")
class SequenceMoveLaws(Laws):
    """Tasks of sequences that are run, archived, deleted or changed by hand."""

    @every_removal
    def test_removing_the_head_lets_the_next_task_run(
        self, lab: Lab, remove: Callable[[str], ops.Op[None]]
    ) -> None:
        enqueue(lab, "a", "b", "c")
        lab.execute(remove("a"))
        assert states(lab, "b", "c") == ["pending", "waiting"]

    @pytest.mark.parametrize("end", LAST_ENDS.values(), ids=LAST_ENDS.keys())
    def test_a_sequence_whose_last_task_has_ended_is_not_examined(
        self, lab: Lab, end: Callable[[Lab], object]
    ) -> None:
        enqueue(lab, "a", retention=60)
        end(lab)
        nothing = ops.Advanced(promoted=0, examined=0, cursor="")
        assert lab.execute(ops.AdvanceSequences(queue="q")) == nothing
        enqueue(lab, "b", "c")
        assert states(lab, "b", "c") == ["pending", "waiting"]

    @every_removal
    def test_removing_a_retried_head_lets_the_next_task_run(
        self, lab: Lab, remove: Callable[[str], ops.Op[None]]
    ) -> None:
        enqueue(lab, "a", "b")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        lab.execute(remove("a"))
        assert states(lab, "b") == ["pending"]

    @every_removal
    def test_a_waiting_task_that_is_removed_has_no_turn(
        self, lab: Lab, remove: Callable[[str], ops.Op[None]]
    ) -> None:
        enqueue(lab, "a", "b", "c")
        lab.execute(remove("b"))
        assert states(lab, "a", "c") == ["pending", "waiting"]
        assert run_all(lab) == ["a", "c"]

    @pytest.mark.parametrize("bulk", [True, False])
    def test_waiting_tasks_that_were_removed_delay_nobody(self, lab: Lab, bulk: bool) -> None:
        ids = [f"t{number:03}" for number in range(2 * ops.MAX_BATCH)]
        enqueue(lab, "head", *ids)
        if bulk:
            move = ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="deleted", limit=len(ids))
            assert lab.execute(move) == len(ids)
        else:
            lab.execute_many([ops.DeleteTask(queue="q", task_id=task_id) for task_id in ids])
        enqueue(lab, "last")
        lab.execute(ops.Done(delivery=lab.take()))
        assert states(lab, "last") == ["pending"]

    @every_removal
    def test_removing_the_first_tasks_at_once_lets_the_next_one_run(
        self, lab: Lab, remove: Callable[[str], ops.Op[None]]
    ) -> None:
        ids = [f"t{number:03}" for number in range(ops.MAX_BATCH + 2)]
        enqueue(lab, *ids)
        lab.execute_many([remove(task_id) for task_id in ids[: ops.MAX_BATCH]])
        assert states(lab, *ids[ops.MAX_BATCH :]) == ["pending", "waiting"]

    def test_an_id_that_is_used_again_has_the_last_place(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        lab.execute(ops.DeleteTask(queue="q", task_id="b"))
        enqueue(lab, "b")
        assert run_all(lab) == ["a", "c", "b"]

    def test_a_waiting_task_cannot_be_run(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        before = lab.task("b")
        with pytest.raises(TaskStateError):
            lab.execute(ops.RunTask(queue="q", task_id="b"))
        assert lab.task("b") == before
        assert run_all(lab) == ["a", "b"]

    def test_a_retried_head_can_be_run_at_once(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        lab.execute(ops.RunTask(queue="q", task_id="a"))
        assert states(lab, "a", "b") == ["pending", "waiting"]

    @pytest.mark.parametrize("end", [ENDS["complete"], ENDS["archive"]], ids=["complete", "archive"])
    def test_a_finished_task_that_is_run_again_joins_the_tail(self, lab: Lab, end: Settle) -> None:
        enqueue(lab, "a", "b", "c", retention=60)
        lab.execute(end(lab.take()))
        lab.execute(ops.RunTask(queue="q", task_id="a"))
        assert states(lab, "a", "b", "c") == ["waiting", "pending", "waiting"]
        assert run_all(lab) == ["b", "c", "a"]

    def test_a_finished_task_runs_again_at_once_if_its_sequence_is_empty(self, lab: Lab) -> None:
        enqueue(lab, "a", retention=60)
        lab.execute(ops.Complete(delivery=lab.take()))
        lab.execute(ops.RunTask(queue="q", task_id="a"))
        enqueue(lab, "b")
        assert states(lab, "a", "b") == ["pending", "waiting"]

    def test_a_replaced_task_joins_the_tail(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c", retention=60)
        lab.execute(ops.Complete(delivery=lab.take()))
        lab.enqueue(in_sequence(lab, "a"), on_conflict="replace_finished")
        assert run_all(lab) == ["b", "c", "a"]

    def test_bulk_runs_leave_waiting_tasks_alone(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        lab.enqueue("later", delay=HOUR)
        move = ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="pending", limit=100)
        assert lab.execute(move) == 1
        assert states(lab, "a", "b", "c", "later") == ["pending", "waiting", "waiting", "pending"]

    def test_bulk_runs_find_tasks_that_are_due_later_than_those_that_wait(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        lab.enqueue("near", delay=HOUR)
        lab.enqueue("far", at=WAITING + SECOND)
        lab.enqueue("last", at=WAITING + 2 * SECOND)
        moved = [
            lab.execute(ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="pending", limit=2))
            for _ in range(3)
        ]
        assert moved == [2, 1, 0]
        assert lab.listed(TaskState.PENDING) == ["a", "near", "far", "last"]
        assert states(lab, "b", "c") == ["waiting", "waiting"]

    @pytest.mark.parametrize("at", [WAITING - SECOND + 1, WAITING])
    @pytest.mark.parametrize("how", ["enqueued", "updated"])
    def test_bulk_runs_find_tasks_that_are_due_when_others_wait(self, lab: Lab, at: int, how: str) -> None:
        lab.enqueue("plain", at=at if how == "enqueued" else lab.now + HOUR)
        if how == "updated":
            lab.execute(ops.UpdateTask(queue="q", task_id="plain", process_at=at))
        enqueue(lab, "a", "b")
        assert lab.task("plain").due_at >= at
        assert lab.execute(ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="pending", limit=100)) == 1
        assert lab.listed(TaskState.PENDING) == ["a", "plain"]
        assert states(lab, "b") == ["waiting"]

    @pytest.mark.parametrize("end", [ENDS["complete"], ENDS["archive"]], ids=["complete", "archive"])
    def test_bulk_runs_of_finished_tasks_join_them_in_order(self, lab: Lab, end: Settle) -> None:
        enqueue(lab, "a", "b", "c", "d", retention=60)
        for _ in range(3):
            lab.execute(end(lab.take()))
            lab.advance(SECOND)
        [finished] = {lab.task(task_id).state for task_id in ("a", "b", "c")}
        assert lab.execute(ops.MoveTasks(queue="q", state=finished, to="pending", limit=100)) == 3
        assert states(lab, "d", "a", "b", "c") == ["pending", "waiting", "waiting", "waiting"]
        assert run_all(lab) == ["d", "a", "b", "c"]

    @pytest.mark.parametrize("to", ["archived", "deleted"])
    @pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.RETRY])
    def test_bulk_removal_of_heads_lets_the_next_tasks_run(self, lab: Lab, state: TaskState, to: Any) -> None:
        for name in ("s", "r"):
            enqueue(lab, f"{name}1", f"{name}2", f"{name}3", name=name)
            if state is TaskState.RETRY:
                lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        assert lab.execute(ops.MoveTasks(queue="q", state=state, to=to, limit=100)) == 2
        assert sorted(lab.listed(TaskState.PENDING)) == ["r2", "s2"]
        assert states(lab, "r3", "s3") == ["waiting", "waiting"]

    @pytest.mark.parametrize("to", ["archived", "deleted"])
    def test_bulk_removal_of_waiting_tasks_leaves_the_head(self, lab: Lab, to: Any) -> None:
        enqueue(lab, "a", "b", "c")
        assert lab.execute(ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to=to, limit=100)) == 2
        enqueue(lab, "d")
        assert run_all(lab) == ["a", "d"]

    def test_the_payload_of_a_waiting_task_can_be_changed(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        lab.execute(ops.UpdateTask(queue="q", task_id="b", payload=b"new"))
        assert (states(lab, "b"), lab.task("b").message.payload) == (["waiting"], b"new")
        assert run_all(lab) == ["a", "b"]

    @pytest.mark.parametrize("due", [{"process_in": 0}, {"process_at": 1}, {"process_in": HOUR}])
    def test_a_waiting_task_has_no_due_time_to_be_changed(self, lab: Lab, due: dict[str, int]) -> None:
        enqueue(lab, "a", "b")
        with pytest.raises(TaskStateError):
            lab.execute(ops.UpdateTask(queue="q", task_id="b", payload=b"new", **due))
        assert (states(lab, "b"), lab.task("b").message.payload) == (["waiting"], b"payload")

    def test_a_retried_head_can_be_rescheduled(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        lab.execute(ops.UpdateTask(queue="q", task_id="a", process_in=0))
        lab.execute(ops.Forward(queue="q"))
        assert states(lab, "a", "b") == ["retry", "waiting"]
        lab.advance(SECOND)
        lab.execute(ops.Forward(queue="q"))
        assert states(lab, "a", "b") == ["pending", "waiting"]

    def test_a_deleted_queue_leaves_no_sequence(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        while not lab.execute(ops.DeleteQueue(queue="q", force=True, limit=1)).done:
            pass
        enqueue(lab, "d", "e")
        assert states(lab, "d", "e") == ["pending", "waiting"]
