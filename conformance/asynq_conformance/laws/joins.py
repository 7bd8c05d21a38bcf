"""Laws of joins: tasks that wait for several others, their members, and run once when all have arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import TaskNotFoundError, TaskStateError
from asynq.protocol import ops
from asynq.protocol.followers import RESULT_HEADER, members_header
from asynq.protocol.sequences import MEMBERS_HEADER, SEQUENCE_HEADER, WAITING
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

COPIES = 5


def joining(lab: Lab, members: int, task_id: str = "t") -> TaskMessage:
    """A message of a task that waits for this many."""
    header = members_header([("p", f"m{number}") for number in range(members)])
    return replace(lab.message(task_id), headers={MEMBERS_HEADER: header, "k": "v"})


def arrival(member: int, members: int, result: str | None = None, task_id: str = "t") -> ops.Arrive:
    """The arrival of a member."""
    return ops.Arrive(
        queue="q",
        task_id=task_id,
        member=member,
        member_queue="p",
        member_id=f"m{member}",
        members=members,
        result=result or f"result {member}",
    )


def results(message: TaskMessage) -> dict[int, str]:
    """The results that were passed on, by member."""
    return {
        int(name.removeprefix(RESULT_HEADER)): text
        for name, text in message.headers.items()
        if name.startswith(RESULT_HEADER)
    }


@promise("G2", "G10")
class JoinLaws(Laws):
    """Joins: who waits, for whom, and when it runs."""

    def test_a_task_that_follows_several_waits(self, lab: Lab) -> None:
        answer = lab.enqueue(joining(lab, 2))
        assert answer == ops.Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        task = lab.task()
        assert (task.state, task.due_at, task.waiting) == (TaskState.SCHEDULED, WAITING, True)
        lab.advance(1000 * HOUR)
        assert lab.execute(ops.Forward(queue="q")).moved == 0
        assert lab.dequeue() == ()

    def test_it_runs_with_all_results_when_the_last_member_has_arrived(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 3))
        lab.enqueue("plain")
        assert [lab.execute(arrival(member, 3)) for member in (2, 0)] == [2, 1]
        assert lab.task().waiting
        assert results(lab.task().message) == {2: "result 2", 0: "result 0"}
        lab.advance(HOUR)
        assert lab.execute(arrival(1, 3)) == 0
        assert (lab.task().state, lab.task().pending_since) == (TaskState.PENDING, lab.now)
        assert lab.listed(TaskState.PENDING) == ["plain", "t"]
        assert lab.listed(TaskState.SCHEDULED) == []
        lab.take()
        message = lab.take().message
        assert results(message) == {0: "result 0", 1: "result 1", 2: "result 2"}
        before = replace(message, headers={})
        assert before == replace(joining(lab, 3), headers={})
        assert message.headers["k"] == "v"

    def test_a_member_that_arrives_again_changes_nothing(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 2))
        assert lab.execute(arrival(0, 2)) == 1
        before = lab.picture()
        assert [lab.execute(arrival(0, 2, "other")) for _ in range(2)] == [1, 1]
        assert lab.picture() == before

    @pytest.mark.parametrize("state", ["pending", "active", "retry", "archived", "run by hand"])
    def test_a_task_that_does_not_wait_any_more_is_left_alone(self, lab: Lab, state: str) -> None:
        lab.enqueue(joining(lab, 2))
        if state == "run by hand":
            lab.execute(ops.RunTask(queue="q", task_id="t"))
        elif state == "archived":
            lab.execute(ops.ArchiveTask(queue="q", task_id="t"))
        else:
            for member in range(2):
                lab.execute(arrival(member, 2))
            if state != "pending":
                run = lab.take()
            if state == "retry":
                lab.execute(ops.Retry(delivery=run, delay=HOUR, error="e"))
        before = lab.picture()
        assert [lab.execute(arrival(member, 2, "late")) for member in range(2)] == [0, 0]
        assert lab.picture() == before

    def test_a_task_that_is_gone_cannot_be_told(self, lab: Lab) -> None:
        lab.enqueue("other")
        with pytest.raises(TaskNotFoundError):
            lab.execute(arrival(0, 1))
        lab.enqueue(joining(lab, 1))
        lab.execute(ops.DeleteTask(queue="q", task_id="t"))
        with pytest.raises(TaskNotFoundError):
            lab.execute(arrival(0, 1))
        assert lab.drain() == ["other"]

    @promise("G11")
    def test_an_undecodable_task_cannot_be_told(self, lab: Lab) -> None:
        for task_id in ("bad", "t"):
            lab.enqueue(joining(lab, 1, task_id))
        lab.harness.corrupt("q", "bad")
        with pytest.raises(TaskNotFoundError):
            lab.execute(arrival(0, 1, task_id="bad"))
        assert lab.execute(arrival(0, 1)) == 0
        assert lab.drain() == ["t"]

    def test_a_scheduled_task_that_waits_for_no_one_is_left_alone(self, lab: Lab) -> None:
        lab.enqueue("t", delay=HOUR)
        before = lab.picture()
        assert lab.execute(arrival(0, 1)) == 0
        assert lab.picture() == before

    @pytest.mark.parametrize("other", [{"member_id": "m2"}, {"member_queue": "q"}])
    def test_a_member_of_a_task_that_had_the_same_id_does_not_arrive(
        self, lab: Lab, other: dict[str, str]
    ) -> None:
        lab.enqueue(joining(lab, 2))
        lab.execute(arrival(0, 2))
        before = lab.picture()
        with pytest.raises(TaskNotFoundError):
            lab.execute(replace(arrival(1, 2), **other))
        assert lab.picture() == before
        assert lab.execute(arrival(1, 2)) == 0

    def test_a_task_that_waits_in_a_sequence_is_left_alone(self, lab: Lab) -> None:
        for task_id in ("first", "t"):
            lab.enqueue(replace(lab.message(task_id), headers={SEQUENCE_HEADER: "s"}))
        before = lab.picture()
        with pytest.raises(TaskNotFoundError):
            lab.execute(arrival(0, 1))
        assert lab.picture() == before

    def test_one_of_several_concurrent_arrivals_is_the_last(self, lab: Lab) -> None:
        members = 10
        lab.enqueue(joining(lab, members))
        answers = lab.execute_at_once(
            [arrival(number % members, members) for number in range(members * COPIES)]
        )
        assert all(isinstance(answer, int) for answer in answers)
        assert answers.count(members - 1) >= 1
        assert lab.drain() == ["t"]
        assert len(results(lab.task().message)) == members

    def test_arrivals_for_several_tasks_do_not_mix(self, lab: Lab) -> None:
        for task_id in ("a", "b"):
            lab.enqueue(joining(lab, 2, task_id))
        assert lab.execute(arrival(0, 2, task_id="a")) == 1
        assert lab.execute(arrival(1, 2, task_id="b")) == 1
        assert lab.dequeue() == ()
        assert lab.execute(arrival(1, 2, task_id="a")) == 0
        assert lab.drain() == ["a"]

    def test_bulk_runs_leave_a_task_that_waits_for_others_alone(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 1))
        lab.enqueue("later", delay=HOUR)
        move = ops.MoveTasks(queue="q", state=TaskState.SCHEDULED, to="pending", limit=10)
        assert lab.execute(move) == 1
        assert (lab.state("later"), lab.task().waiting) == (TaskState.PENDING, True)

    def test_the_task_can_be_given_a_payload_but_no_due_time(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 1))
        before = lab.picture()
        with pytest.raises(TaskStateError):
            lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=HOUR))
        assert lab.picture() == before
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"new"))
        assert lab.task().waiting
        assert lab.execute(arrival(0, 1)) == 0
        message = lab.take().message
        assert (message.payload, results(message)) == (b"new", {0: "result 0"})

    def test_the_task_can_be_given_a_due_time_when_it_is_retried(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 1))
        lab.execute(arrival(0, 1))
        lab.execute(ops.Retry(delivery=lab.take(), delay=3 * HOUR, error="e"))
        lab.execute(ops.UpdateTask(queue="q", task_id="t", process_in=HOUR))
        lab.advance(2 * HOUR)
        assert lab.execute(ops.Forward(queue="q")).moved == 1

    def test_a_copy_of_an_enqueue_waits_once(self, lab: Lab) -> None:
        copy = ops.Enqueue(message=joining(lab, 1), enqueue_id="same")
        assert [lab.execute(copy).due_at for _ in range(2)] == [WAITING] * 2
        assert lab.execute(arrival(0, 1)) == 0
        assert lab.drain() == ["t"]

    def test_a_paused_queue_lets_the_task_become_pending(self, lab: Lab) -> None:
        lab.enqueue(joining(lab, 1))
        lab.execute(ops.PauseQueue(queue="q"))
        assert lab.execute(arrival(0, 1)) == 0
        assert lab.state() is TaskState.PENDING
        assert lab.dequeue() == ()
