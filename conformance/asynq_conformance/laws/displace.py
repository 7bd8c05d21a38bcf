"""Laws of locks that a later task takes over: it replaces a duplicate that waits."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asynq.errors import DuplicateTaskError
from asynq.protocol import ops
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.protocol.uniqueness import named_key
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.unique import UNTIL_DONE, UNTIL_EXPIRY, UNTIL_START
from asynq_conformance.promises import promise

LATEST = ops.Unique(ttl=HOUR, until="start", keep=True, on_duplicate="replace")
LOCK = named_key("q", "type", "debounce", "k")


def enqueue(lab: Lab, task_id: str, unique: ops.Unique = LATEST, *, delay: int | None = MINUTE) -> None:
    """Enqueue a task whose payload is its id, with the lock."""
    message = lab.message(task_id, payload=task_id.encode(), lock=LOCK, retention=60)
    lab.enqueue(message, unique=unique, delay=delay)


def bring(lab: Lab, state: TaskState) -> None:
    """Bring the task "old" into this state. It holds the lock."""
    enqueue(lab, "old", UNTIL_DONE, delay=MINUTE if state is TaskState.SCHEDULED else None)
    if state in (TaskState.PENDING, TaskState.SCHEDULED):
        return
    delivery = lab.take()
    if state is TaskState.RETRY:
        lab.execute(ops.Retry(delivery=delivery, delay=HOUR, error="e"))
    elif state is TaskState.ARCHIVED:
        lab.execute(ops.Archive(delivery=delivery, error="e"))


@promise("G4")
class DisplaceLaws(Laws):
    """Replacing duplicates."""

    @promise("G9", "G10")
    def test_the_latest_of_several_scheduled_tasks_remains(self, lab: Lab) -> None:
        for name in ("first", "second", "third"):
            enqueue(lab, name)
            lab.advance(MINUTE // 2)
        assert lab.listed(TaskState.SCHEDULED) == ["third"]
        assert [lab.state(name) for name in ("first", "second")] == [None, None]
        assert lab.stats().size == 1
        lab.advance(MINUTE // 2 + 1000)
        assert lab.execute(ops.Forward(queue="q")).moved == 1
        assert lab.take().message.payload == b"third"

    @pytest.mark.parametrize("state", [TaskState.PENDING, TaskState.SCHEDULED])
    @promise("G10")
    def test_a_waiting_duplicate_is_replaced(self, lab: Lab, state: TaskState) -> None:
        lab.enqueue("before")
        bring(lab, state)
        lab.enqueue("after")
        enqueue(lab, "new")
        assert lab.state("old") is None
        assert lab.state("new") is TaskState.SCHEDULED
        assert (lab.stats().pending, lab.stats().scheduled) == (2, 1)
        assert lab.drain() == ["before", "after"]

    @pytest.mark.parametrize("state", [TaskState.ACTIVE, TaskState.RETRY, TaskState.ARCHIVED])
    def test_a_duplicate_that_has_started_stays_and_loses_the_lock(self, lab: Lab, state: TaskState) -> None:
        bring(lab, state)
        before = lab.task("old")
        enqueue(lab, "new")
        assert lab.task("old") == before
        enqueue(lab, "newer")
        assert (lab.state("old"), lab.state("new"), lab.state("newer")) == (state, None, TaskState.SCHEDULED)

    def test_a_duplicate_in_a_sequence_stays_and_loses_the_lock(self, lab: Lab) -> None:
        for name in ("head", "old"):
            unique = UNTIL_DONE if name == "old" else None
            headers = {SEQUENCE_HEADER: "s"}
            lab.enqueue(
                replace(lab.message(name, lock=LOCK if unique else ""), headers=headers), unique=unique
            )
        enqueue(lab, "new")
        enqueue(lab, "newer")
        assert (lab.state("head"), lab.state("old")) == (TaskState.PENDING, TaskState.SCHEDULED)
        assert (lab.state("new"), lab.state("newer")) == (None, TaskState.SCHEDULED)

    def test_the_end_of_a_replaced_run_leaves_the_lock_of_the_new_task(self, lab: Lab) -> None:
        enqueue(lab, "old", UNTIL_DONE, delay=None)
        delivery = lab.take()
        enqueue(lab, "new")
        lab.execute(ops.Complete(delivery=delivery))
        with pytest.raises(DuplicateTaskError) as duplicate:
            enqueue(lab, "other", UNTIL_DONE)
        assert duplicate.value.task_id in ("new", "")

    def test_a_task_that_was_taken_is_followed_by_another(self, lab: Lab) -> None:
        enqueue(lab, "first", delay=None)
        assert lab.take().message.id == "first"
        enqueue(lab, "second")
        assert (lab.state("first"), lab.state("second")) == (TaskState.ACTIVE, TaskState.SCHEDULED)

    @promise("G10")
    def test_a_lock_that_only_expires_is_not_replaced(self, lab: Lab) -> None:
        enqueue(lab, "old", UNTIL_EXPIRY)
        before = lab.picture()
        with pytest.raises(DuplicateTaskError):
            enqueue(lab, "new")
        assert lab.picture() == before

    @promise("G10")
    def test_a_refused_id_replaces_nothing(self, lab: Lab) -> None:
        enqueue(lab, "old")
        lab.enqueue("taken")
        before = lab.picture()
        with pytest.raises(Exception, match="already taken"):
            enqueue(lab, "taken")
        assert lab.picture() == before

    def test_a_repeated_enqueue_does_not_replace_its_own_task(self, lab: Lab) -> None:
        message = lab.message("t", lock=LOCK)
        answers = [lab.enqueue(message, unique=LATEST, delay=MINUTE, enqueue_id="mine") for _ in range(2)]
        assert answers[0] == answers[1]
        assert lab.listed(TaskState.SCHEDULED) == ["t"]

    def test_of_a_batch_the_last_task_remains(self, lab: Lab) -> None:
        operations = [
            ops.Enqueue(
                message=lab.message(f"t{number}", lock=LOCK),
                enqueue_id=lab.fresh(),
                unique=LATEST,
                process_in=MINUTE if number % 2 else None,
            )
            for number in range(60)
        ]
        answers = lab.execute_many(operations)
        assert all(isinstance(answer, ops.Enqueued) for answer in answers)
        assert (lab.stats().size, lab.state("t59")) == (1, TaskState.SCHEDULED)

    def test_a_tick_replaces_a_waiting_duplicate(self, lab: Lab) -> None:
        enqueue(lab, "old")
        message = lab.message("new", lock=LOCK)
        due = ops.Enqueue(message=message, enqueue_id=lab.fresh(), unique=LATEST)
        tick = ops.EnqueueTick(entry_id="e", tick=lab.now, keep=HOUR, enqueue=due)
        assert lab.execute(tick).enqueued is not None
        assert (lab.state("old"), lab.state("new")) == (None, TaskState.PENDING)

    def test_a_lock_with_a_key_does_not_follow_the_payload(self, lab: Lab) -> None:
        enqueue(lab, "old", UNTIL_START)
        lab.execute(ops.UpdateTask(queue="q", task_id="old", payload=b"new"))
        assert lab.task("old").message.unique_key == LOCK
        with pytest.raises(DuplicateTaskError):
            enqueue(lab, "new", UNTIL_START)

    def test_the_latest_of_concurrent_tasks_remains(self, lab: Lab) -> None:
        operations = [
            ops.Enqueue(
                message=lab.message(f"t{number}", lock=LOCK),
                enqueue_id=lab.fresh(),
                unique=LATEST,
                process_in=MINUTE,
            )
            for number in range(20)
        ]
        answers = lab.execute_at_once(operations)
        assert all(isinstance(answer, ops.Enqueued) for answer in answers)
        assert len(lab.listed(TaskState.SCHEDULED)) == 1
