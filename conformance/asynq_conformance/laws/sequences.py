"""Laws of sequences: tasks of one queue that run one at a time, in the order of their enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import AsynqError, DuplicateTaskError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.sequences import SEQUENCE_HEADER, WAITING
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from asynq.protocol.message import Delivery, TaskMessage

    Settle = Callable[[Delivery], ops.Op[None]]

ENDS: dict[str, Settle] = {
    "done": lambda run: ops.Done(delivery=run),
    "complete": lambda run: ops.Complete(delivery=run),
    "archive": lambda run: ops.Archive(delivery=run, error="final"),
}
every_end = pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
STAYS: dict[str, Settle] = {
    "retry": lambda run: ops.Retry(delivery=run, delay=MINUTE, error="failed"),
    "requeue": lambda run: ops.Requeue(delivery=run),
}


def in_sequence(lab: Lab, task_id: str, name: str = "s", **fields: Any) -> TaskMessage:
    """A message of a task in this sequence."""
    return replace(lab.message(task_id, **fields), headers={SEQUENCE_HEADER: name})


def enqueue(lab: Lab, *ids: str, name: str = "s", **fields: Any) -> None:
    """Enqueue tasks into a sequence of queue "q", in this order."""
    for task_id in ids:
        lab.enqueue(in_sequence(lab, task_id, name, **fields))


def states(lab: Lab, *ids: str) -> list[str]:
    """The state of each task: "waiting" if it waits in its sequence, "gone" if it is deleted."""
    found = []
    for task_id in ids:
        state = lab.state(task_id)
        waits = state is TaskState.SCHEDULED and lab.task(task_id).waiting
        found.append("gone" if state is None else "waiting" if waits else str(state))
    return found


def run_all(lab: Lab) -> list[str]:
    """Run all tasks. Returns their ids in order; never two of them run at once."""
    ids = []
    while runs := lab.dequeue(count=3):
        assert len(runs) == 1
        ids.append(runs[0].message.id)
        lab.execute(ops.Done(delivery=runs[0]))
    return ids


@promise("G7")
class SequenceLaws(Laws):
    """Sequences: who runs, who waits, and who is next."""

    # --- joining ------------------------------------------------------------------------------------

    def test_the_first_task_of_a_sequence_is_pending_and_the_others_wait(self, lab: Lab) -> None:
        first, second = (lab.enqueue(in_sequence(lab, task_id)) for task_id in ("a", "b"))
        assert first == ops.Enqueued(state=TaskState.PENDING, due_at=lab.now)
        assert second == ops.Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        waiting = lab.task("b")
        assert (waiting.state, waiting.due_at, waiting.waiting) == (TaskState.SCHEDULED, WAITING, True)
        assert waiting.message.sequence == "s"
        assert lab.listed(TaskState.PENDING) == ["a"]
        assert lab.listed(TaskState.SCHEDULED) == ["b"]

    def test_a_batch_of_enqueues_joins_in_its_order(self, lab: Lab) -> None:
        ids = [f"t{number}" for number in range(ops.MAX_BATCH + 2)]
        requests = [ops.Enqueue(message=in_sequence(lab, i), enqueue_id=lab.fresh()) for i in ids]
        answers = lab.execute_many(requests)
        assert not any(isinstance(answer, AsynqError) for answer in answers)
        assert run_all(lab) == ids

    def test_other_tasks_do_not_wait(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        enqueue(lab, "c", name="other")
        lab.enqueue("plain")
        assert sorted(lab.drain()) == ["a", "c", "plain"]

    def test_a_sequence_belongs_to_its_queue(self, lab: Lab) -> None:
        enqueue(lab, "a")
        lab.enqueue(in_sequence(lab, "b", queue="p"))
        assert lab.take("p").message.id == "b"
        assert lab.take("q").message.id == "a"

    def test_names_of_sequences_are_exact(self, lab: Lab) -> None:
        for number, name in enumerate(("s", "s ", "S", "s:1", "{s}", "s\n", "é")):
            enqueue(lab, f"t{number}", name=name)
        assert len(lab.drain()) == 7

    def test_a_sequence_delivers_one_task_at_a_time(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        assert [one.message.id for one in lab.dequeue(count=3)] == ["a"]
        assert lab.dequeue(count=3) == ()

    def test_no_time_ends_the_wait_of_a_task(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        lab.advance(1000 * HOUR)
        assert lab.execute(ops.Forward(queue="q")).moved == 0
        assert states(lab, "b") == ["waiting"]

    def test_a_copy_of_an_enqueue_has_one_place(self, lab: Lab) -> None:
        enqueue(lab, "a")
        copies = [ops.Enqueue(message=in_sequence(lab, "b"), enqueue_id="same")] * 2
        assert [lab.execute(copy).state for copy in copies] == [TaskState.SCHEDULED] * 2
        enqueue(lab, "c")
        assert run_all(lab) == ["a", "b", "c"]

    def test_a_refused_task_has_no_place(self, lab: Lab) -> None:
        lab.enqueue("taken")
        lab.enqueue(lab.message("holder", lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        with pytest.raises(TaskIDConflictError):
            enqueue(lab, "taken")
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(in_sequence(lab, "t", lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        enqueue(lab, "a")
        assert states(lab, "a") == ["pending"]

    @promise("G4", "G7")
    def test_the_lock_of_a_waiting_task_counts_from_its_enqueue(self, lab: Lab) -> None:
        enqueue(lab, "a")
        lab.enqueue(in_sequence(lab, "b", lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        with pytest.raises(DuplicateTaskError):
            lab.enqueue(lab.message("c", lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        lab.advance(HOUR + MINUTE)
        lab.enqueue(lab.message("c", lock=lock_name()), unique=ops.Unique(ttl=HOUR))

    def test_the_task_of_a_tick_joins_its_sequence(self, lab: Lab) -> None:
        enqueue(lab, "a")
        request = ops.Enqueue(message=in_sequence(lab, "b"), enqueue_id="tick")
        ticked = lab.execute(ops.EnqueueTick(entry_id="e", tick=lab.now, keep=HOUR, enqueue=request))
        assert ticked.enqueued == ops.Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        assert run_all(lab) == ["a", "b"]

    # --- leaving ------------------------------------------------------------------------------------

    @every_end
    @promise("G2", "G7")
    def test_the_end_of_a_run_lets_the_next_task_run(self, lab: Lab, end: Settle) -> None:
        enqueue(lab, "a", "b", "c", retention=60)
        lab.enqueue("plain")
        run = lab.take()
        lab.advance(MINUTE)
        lab.execute(end(run))
        assert states(lab, "b", "c") == ["pending", "waiting"]
        assert (lab.task("b").due_at, lab.task("b").pending_since) == (0, lab.now)
        assert lab.listed(TaskState.PENDING) == ["plain", "b"]

    @every_end
    def test_a_settlement_sent_again_lets_no_further_task_run(self, lab: Lab, end: Settle) -> None:
        enqueue(lab, "a", "b", "c", retention=60)
        run = lab.take()
        lab.execute(end(run))
        try:
            lab.execute(end(run))
        except AsynqError:
            assert end is ENDS["done"]
        assert states(lab, "b", "c") == ["pending", "waiting"]

    @every_end
    def test_runs_of_several_sequences_end_together(self, lab: Lab, end: Settle) -> None:
        for name in ("s", "r", "p"):
            enqueue(lab, f"{name}1", f"{name}2", name=name, retention=60)
        lab.enqueue(lab.message("plain", retention=60))
        runs = lab.dequeue(count=4)
        assert len(runs) == 4
        lab.execute_many([end(run) for run in runs])
        assert sorted(lab.listed(TaskState.PENDING)) == ["p2", "r2", "s2"]

    @pytest.mark.parametrize("stay", STAYS.values(), ids=STAYS.keys())
    def test_a_task_that_runs_again_keeps_its_place(self, lab: Lab, stay: Settle) -> None:
        enqueue(lab, "a", "b")
        lab.execute(stay(lab.take()))
        assert states(lab, "b") == ["waiting"]
        lab.advance(HOUR)
        lab.execute(ops.Forward(queue="q"))
        assert states(lab, "a", "b") == ["pending", "waiting"]
        lab.execute(ops.Done(delivery=lab.take()))
        assert states(lab, "a", "b") == ["gone", "pending"]

    @pytest.mark.parametrize(
        ("to", "after"), [("pending", "waiting"), ("retry", "waiting"), ("archived", "pending")]
    )
    def test_a_recovered_task_keeps_its_place_unless_it_is_archived(
        self, lab: Lab, to: Any, after: str
    ) -> None:
        enqueue(lab, "a", "b", "c")
        lab.recover(lab.take(), to)
        assert states(lab, "b", "c") == [after, "waiting"]

    def test_a_stale_settlement_lets_no_task_run(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        stale = lab.take()
        lab.recover(stale)
        for end in ENDS.values():
            with pytest.raises(AsynqError):
                lab.execute(end(stale))
        assert states(lab, "a", "b") == ["pending", "waiting"]

    def test_a_paused_queue_lets_the_next_task_become_pending(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        run = lab.take()
        lab.execute(ops.PauseQueue(queue="q"))
        lab.execute(ops.Done(delivery=run))
        assert states(lab, "b") == ["pending"]
        assert lab.dequeue() == ()

    def test_a_sequence_without_tasks_begins_anew(self, lab: Lab) -> None:
        for task_id in ("a", "b"):
            enqueue(lab, task_id)
            lab.execute(ops.Done(delivery=lab.take()))
        enqueue(lab, "c", "d")
        assert run_all(lab) == ["c", "d"]

    # --- advancing ----------------------------------------------------------------------------------

    def test_advancing_changes_nothing_while_the_heads_live(self, lab: Lab) -> None:
        enqueue(lab, "a", "b")
        enqueue(lab, "c", "d", name="r")
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="e"))
        assert lab.execute(ops.AdvanceSequences(queue="q")) == ops.Advanced(promoted=0, examined=2, cursor="")
        assert states(lab, "a", "b", "c", "d") == ["retry", "waiting", "pending", "waiting"]
        nothing = ops.Advanced(promoted=0, examined=0, cursor="")
        assert lab.execute(ops.AdvanceSequences(queue="none")) == nothing

    @promise("G11")
    def test_advancing_lets_the_tasks_run_whose_head_is_gone(self, lab: Lab) -> None:
        enqueue(lab, "a", "b", "c")
        lab.execute(ops.DeleteQueue(queue="q", force=True, limit=1))
        left = [task_id for task_id in ("a", "b", "c") if lab.state(task_id) is not None]
        assert len(left) == 2
        lab.execute(ops.AdvanceSequences(queue="q"))
        assert states(lab, *left) == ["pending", "waiting"]
        lab.execute(ops.UnpauseQueue(queue="q"))
        assert run_all(lab) == left

    @pytest.mark.parametrize("others", [0, 2])
    def test_a_deletion_that_is_not_finished_leaves_only_sequences_with_tasks(
        self, lab: Lab, others: int
    ) -> None:
        ids = {name: [f"{name}{number}" for number in range(2)] for name in ("p", "r", "s")}
        for name, members in ids.items():
            enqueue(lab, *members, name=name)
        lab.enqueue_all([f"plain{number}" for number in range(others)])
        while not lab.execute(ops.DeleteQueue(queue="q", force=True, limit=1)).done:
            left = [name for name, members in ids.items() if any(map(lab.state, members))]
            assert lab.execute(ops.AdvanceSequences(queue="q")).examined == len(left)
        assert lab.execute(ops.AdvanceSequences(queue="q")).examined == 0

    def test_advancing_pages_through_the_sequences_by_name(self, lab: Lab) -> None:
        for name in ("p", "r", "s"):
            enqueue(lab, f"{name}1", name=name)
        cursors, cursor = [], ""
        for _ in range(4):
            cursor = lab.execute(ops.AdvanceSequences(queue="q", cursor=cursor, limit=1)).cursor
            cursors.append(cursor)
            if not cursor:
                break
        assert cursors == ["p", "r", "s", ""]
        assert lab.execute(ops.AdvanceSequences(queue="q", cursor="r", limit=2)).cursor == ""
