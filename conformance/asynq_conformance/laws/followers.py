"""Laws of parents: completed tasks that others follow, until their followers are enqueued."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import AsynqError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.followers import (
    FOLLOWERS_HEADER,
    LONGEST_RETENTION,
    PARENT_RETENTION,
    Follower,
    Followers,
    header_of,
)
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from asynq.protocol.message import StoredTask, TaskMessage

HEADER = header_of(Followers(then=(Follower(id="f", type="next", queue="p"),)))
CALLERS = 20


def parent(lab: Lab, task_id: str = "t", **fields: Any) -> TaskMessage:
    """A message of a task that another one follows."""
    message = lab.message(task_id, retention=PARENT_RETENTION, **fields)
    return replace(message, headers={FOLLOWERS_HEADER: HEADER})


def complete(lab: Lab, *ids: str, result: bytes | None = b"result", **fields: Any) -> None:
    """Enqueue and complete parents, one after the other."""
    for task_id in ids:
        lab.enqueue(parent(lab, task_id, **fields))
        lab.execute(ops.Complete(delivery=lab.take(), result=result))


def taken(lab: Lab, limit: int = ops.MAX_BATCH, queue: str = "q") -> Sequence[StoredTask]:
    """The parents that nobody holds, now held for a minute."""
    return lab.execute(ops.TakeParents(queue=queue, hold=MINUTE, limit=limit))


def finish(lab: Lab, task: StoredTask, retention: int = 0) -> bool:
    """Let the parent go."""
    return lab.execute(
        ops.FinishParent(
            queue=task.message.queue, task_id=task.message.id, held_until=task.due_at, retention=retention
        )
    )


@promise("G1", "G10")
class FollowerLaws(Laws):
    """Parents: whose followers are to be enqueued, and who does it."""

    def test_a_completed_parent_is_taken_with_its_message_and_result(self, lab: Lab) -> None:
        complete(lab, "t")
        [task] = taken(lab)
        assert task.message == replace(parent(lab), completed_at=lab.now // 1000)
        assert (task.state, task.result) == (TaskState.COMPLETED, b"result")
        assert lab.task().due_at == task.due_at

    def test_a_result_that_was_written_while_it_ran_is_taken_too(self, lab: Lab) -> None:
        lab.enqueue(parent(lab))
        run = lab.take()
        lab.execute(ops.WriteResult(lease=run.lease, result=b"written"))
        lab.execute(ops.Complete(delivery=run))
        assert [task.result for task in taken(lab)] == [b"written"]

    def test_a_parent_without_a_result_has_none(self, lab: Lab) -> None:
        complete(lab, "t", result=None)
        assert [task.result for task in taken(lab)] == [None]

    def test_no_other_completed_task_is_taken(self, lab: Lab) -> None:
        for retention in (3600, LONGEST_RETENTION):
            lab.enqueue(lab.message(f"t{retention}", retention=retention))
            lab.execute(ops.Complete(delivery=lab.take()))
        assert taken(lab) == ()
        lab.advance(HOUR)
        assert taken(lab) == ()
        assert taken(lab, queue="none") == ()

    @pytest.mark.parametrize(
        "end", ["pending", "active", "retry", "archive", "requeue", "recover", "scheduled"]
    )
    def test_a_parent_that_has_not_succeeded_is_not_taken(self, lab: Lab, end: str) -> None:
        lab.enqueue(parent(lab), delay=HOUR if end == "scheduled" else None)
        run = None if end in {"pending", "scheduled"} else lab.take()
        if end == "recover":
            assert run is not None
            lab.recover(run, "archived")
        elif run is not None and end != "active":
            settlements: dict[str, ops.Op[None]] = {
                "retry": ops.Retry(delivery=run, delay=HOUR, error="e"),
                "archive": ops.Archive(delivery=run, error="e"),
                "requeue": ops.Requeue(delivery=run),
            }
            lab.execute(settlements[end])
        assert taken(lab) == ()

    def test_a_stale_run_completes_no_parent(self, lab: Lab) -> None:
        lab.enqueue(parent(lab))
        stale = lab.take()
        lab.recover(stale)
        with pytest.raises(AsynqError):
            lab.execute(ops.Complete(delivery=stale))
        assert taken(lab) == ()

    # --- holding ------------------------------------------------------------------------------------

    def test_a_parent_that_is_held_is_not_taken_until_its_hold_ends(self, lab: Lab) -> None:
        complete(lab, "t")
        [first] = taken(lab)
        assert taken(lab) == ()
        lab.advance(MINUTE - SECOND)
        assert taken(lab) == ()
        lab.advance(2 * SECOND)
        [again] = taken(lab)
        assert again.message == first.message
        assert again.due_at > first.due_at

    def test_parents_are_taken_in_the_order_in_which_they_ended_and_at_most_the_limit(self, lab: Lab) -> None:
        for task_id in ("b", "c", "a"):
            complete(lab, task_id)
            lab.advance(2 * SECOND)
        assert [task.message.id for task in taken(lab, 2)] == ["b", "c"]
        assert [task.message.id for task in taken(lab, 2)] == ["a"]

    def test_parents_of_other_queues_are_not_taken(self, lab: Lab) -> None:
        complete(lab, "t")
        assert taken(lab, queue="p") == ()
        assert [task.message.queue for task in taken(lab)] == ["q"]

    def test_concurrent_callers_take_each_parent_once(self, lab: Lab) -> None:
        ids = [f"t{number:02}" for number in range(30)]
        complete(lab, *ids)
        answers = lab.execute_at_once([ops.TakeParents(queue="q", hold=MINUTE, limit=3)] * CALLERS)
        found = [task.message.id for answer in answers if isinstance(answer, tuple) for task in answer]
        assert sorted(found) == ids

    @promise("G9")
    def test_the_followers_of_a_parent_can_be_enqueued_at_any_time(self, lab: Lab) -> None:
        complete(lab, "t")
        lab.advance(1000 * 24 * HOUR)
        assert lab.execute(ops.PurgeCompleted(queue="q")) == 0
        assert [task.message.id for task in taken(lab)] == ["t"]
        lab.advance(1000 * 24 * HOUR)
        assert lab.execute(ops.PurgeCompleted(queue="q")) == 0
        assert [task.message.id for task in taken(lab)] == ["t"]

    # --- letting go ---------------------------------------------------------------------------------

    def test_a_parent_without_a_retention_of_its_own_is_deleted(self, lab: Lab) -> None:
        complete(lab, "t", "other")
        first = next(task for task in taken(lab) if task.message.id == "t")
        assert finish(lab, first)
        assert lab.state("t") is None
        assert lab.listed(TaskState.COMPLETED) == ["other"]
        assert lab.stats().completed == 1

    @promise("G9")
    def test_a_parent_is_kept_for_its_own_retention(self, lab: Lab) -> None:
        complete(lab, "t")
        [task] = taken(lab)
        assert finish(lab, task, HOUR)
        assert lab.task().result == b"result"
        assert lab.task().due_at == -(-(lab.now + HOUR) // 1000) * 1000
        lab.advance(HOUR - SECOND)
        assert (taken(lab), lab.execute(ops.PurgeCompleted(queue="q"))) == ((), 0)
        lab.advance(2 * SECOND)
        assert lab.execute(ops.PurgeCompleted(queue="q")) == 1

    @pytest.mark.parametrize("event", ["finished", "kept", "deleted", "run", "taken", "not taken"])
    def test_a_parent_that_is_not_held_as_answered_is_left_alone(self, lab: Lab, event: str) -> None:
        complete(lab, "t")
        [task] = taken(lab)
        if event in {"finished", "kept"}:
            assert finish(lab, task, HOUR if event == "kept" else 0)
        elif event == "deleted":
            lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        elif event == "run":
            lab.execute(ops.RunTask(queue="q", task_id="t"))
        elif event == "taken":
            lab.advance(HOUR)
            taken(lab)
        else:
            task = replace(task, due_at=task.due_at + SECOND)
        before = lab.picture()
        assert finish(lab, task) is False
        assert finish(lab, task, HOUR) is False
        assert lab.picture() == before

    @promise("G4")
    def test_a_parent_that_goes_releases_no_lock_of_another_task(self, lab: Lab) -> None:
        lab.enqueue(parent(lab, lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        lab.execute(ops.Complete(delivery=lab.take()))
        lab.enqueue(lab.message("other", lock=lock_name()), unique=ops.Unique(ttl=HOUR))
        [task] = taken(lab)
        assert finish(lab, task)
        with pytest.raises(AsynqError):
            lab.enqueue(lab.message("third", lock=lock_name()), unique=ops.Unique(ttl=HOUR))

    # --- other operations ---------------------------------------------------------------------------

    def test_a_parent_is_not_replaced_before_its_followers_are_enqueued(self, lab: Lab) -> None:
        complete(lab, "t")
        for _ in range(2):
            with pytest.raises(TaskIDConflictError):
                lab.enqueue("t", on_conflict="replace_finished")
            [task] = taken(lab)
            lab.advance(HOUR)
        [task] = taken(lab)
        assert finish(lab, task, HOUR)
        lab.enqueue("t", on_conflict="replace_finished")
        assert lab.state() is TaskState.PENDING

    def test_an_archived_parent_is_replaced(self, lab: Lab) -> None:
        lab.enqueue(parent(lab))
        lab.execute(ops.Archive(delivery=lab.take(), error="e"))
        lab.enqueue("t", on_conflict="replace_finished")
        assert lab.state() is TaskState.PENDING

    @pytest.mark.parametrize("how", ["archived", "finished"])
    def test_a_parent_that_is_run_again_by_hand_is_taken_again(self, lab: Lab, how: str) -> None:
        if how == "archived":
            lab.enqueue(parent(lab))
            lab.execute(ops.Archive(delivery=lab.take(), error="e"))
        else:
            complete(lab, "t")
            [task] = taken(lab)
            assert finish(lab, task, HOUR)
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        assert taken(lab) == ()
        lab.execute(ops.Complete(delivery=lab.take(), result=b"again"))
        assert [task.result for task in taken(lab)] == [b"again"]

    @promise("G7")
    def test_a_parent_leaves_its_sequence_when_it_succeeds(self, lab: Lab) -> None:
        for task_id in ("a", "b"):
            message = parent(lab, task_id)
            lab.enqueue(replace(message, headers={**message.headers, SEQUENCE_HEADER: "s"}))
        lab.execute(ops.Complete(delivery=lab.take()))
        assert lab.state("b") is TaskState.PENDING
        [task] = taken(lab)
        assert finish(lab, task)
        assert lab.take().message.id == "b"
