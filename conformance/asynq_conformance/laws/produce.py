"""Laws of Enqueue."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asynq.checks import MAX_DURATION
from asynq.errors import TaskIDConflictError
from asynq.instants import MAX_DATETIME, milliseconds_of
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, HOUR, MINUTE, SECOND, Lab, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

UNFINISHED = [
    TaskState.PENDING,
    TaskState.ACTIVE,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.AGGREGATING,
]
FINISHED = (TaskState.ARCHIVED, TaskState.COMPLETED)

NAMES = ["a b", "a:b", "{a}", "{", "a}b", "ünï ☃ 🐢", "x\ny", "0", "*?[a]", 'quo"te', "-1"]
PAYLOAD_CASES = {
    "empty": b"",
    "every byte": bytes(range(256)),
    "not utf-8": b"\xff\xfe\x00",
    "1 MiB": b"\x00\x01\xff!" * (256 * 1024),
}


@promise("G1")
class ProduceLaws(Laws):
    """Enqueueing of tasks."""

    def test_an_enqueued_task_is_immediately_pending(self, lab: Lab) -> None:
        assert lab.enqueue("t") == ops.Enqueued(state=TaskState.PENDING, due_at=lab.now)
        stored = lab.task("t")
        assert stored.state is TaskState.PENDING
        assert stored.pending_since == lab.now

    def test_every_field_of_a_message_is_kept(self, lab: Lab) -> None:
        message = TaskMessage(
            id="order-7",
            type="order:ship",
            queue="q",
            payload=b"{}",
            headers={"trace": "abc", "": "", "ключ": "значение"},
            max_retry=7,
            retried=2,
            error="earlier\nfailure ☃",
            last_failed_at=1_700_000_000,
            timeout=90,
            deadline=1_999_999_999,
            retention=86400,
            completed_at=1_700_000_001,
        )
        lab.enqueue(message)
        assert lab.task("order-7").message == message
        assert lab.take().message == message

    def test_the_earliest_and_latest_allowed_times_are_kept(self, lab: Lab) -> None:
        due, most = milliseconds_of(MAX_DATETIME), milliseconds_of(MAX_DURATION)
        longest = most // SECOND
        message = replace(lab.message(), deadline=due // SECOND, retention=longest, timeout=longest)
        assert lab.enqueue(message, at=due) == ops.Enqueued(state=TaskState.SCHEDULED, due_at=due)
        assert (lab.task("t").message, lab.task("t").due_at) == (message, due)
        assert lab.execute(ops.Forward(queue="q")) == ops.Forwarded(moved=0, next_due=due)
        assert lab.enqueue("later", delay=most).due_at == whole_second(lab.now + most)

    @pytest.mark.parametrize("payload", PAYLOAD_CASES.values(), ids=PAYLOAD_CASES.keys())
    def test_a_payload_is_stored_unchanged(self, lab: Lab, payload: bytes) -> None:
        lab.enqueue(lab.message(payload=payload))
        assert lab.take().message.payload == payload

    @pytest.mark.parametrize("name", NAMES)
    def test_an_id_may_be_any_text(self, lab: Lab, name: str) -> None:
        lab.enqueue(name)
        assert lab.task(name).message.id == name
        delivery = lab.take()
        assert delivery.message.id == name
        lab.execute(ops.Done(delivery=delivery))
        assert lab.state(name) is None

    @pytest.mark.parametrize("name", NAMES)
    def test_a_queue_may_have_any_name(self, lab: Lab, name: str) -> None:
        lab.enqueue(lab.message("t", name), delay=SECOND)
        lab.advance(2 * SECOND)
        assert lab.execute(ops.Forward(queue=name)).moved == 1
        delivery = lab.take(name)
        assert delivery.message.queue == name
        lab.execute(ops.Archive(delivery=delivery, error="e"))
        assert lab.listed(TaskState.ARCHIVED, name) == ["t"]
        assert lab.execute(ops.ListQueues()) == (name,)

    def test_an_id_may_have_a_million_characters(self, lab: Lab) -> None:
        name = "i" * 1024 * 1024
        lab.enqueue(name)
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.state(name) is None

    @promise("G7")
    def test_tasks_are_delivered_in_the_order_of_enqueueing(self, lab: Lab) -> None:
        for name in ("c", "a", "b"):
            lab.enqueue(name)
        assert lab.drain() == ["c", "a", "b"]

    @pytest.mark.parametrize("size", BATCH_SIZES)
    @promise("G7")
    def test_a_batch_into_one_queue_keeps_its_order(self, lab: Lab, size: int) -> None:
        ids = [f"t{number}" for number in range(size)]
        lab.enqueue_all(ids)
        assert lab.drain() == ids

    def test_a_batch_for_several_queues_reaches_each_queue(self, lab: Lab) -> None:
        queues = [f"q{number % 7}" for number in range(60)]
        lab.execute_many(
            [
                ops.Enqueue(message=lab.message(f"t{number}", queue), enqueue_id=lab.fresh())
                for number, queue in enumerate(queues)
            ]
        )
        assert lab.execute(ops.ListQueues()) == tuple(sorted(set(queues)))
        for queue in set(queues):
            assert lab.drain(queue) == [f"t{n}" for n, name in enumerate(queues) if name == queue]

    @promise("G10")
    def test_a_failed_enqueue_does_not_affect_others_of_its_batch(self, lab: Lab) -> None:
        lab.enqueue("taken")
        first, second, third = lab.execute_many(
            [ops.Enqueue(message=lab.message(i), enqueue_id=lab.fresh()) for i in ("a", "taken", "b")]
        )
        assert isinstance(first, ops.Enqueued)
        assert isinstance(second, TaskIDConflictError)
        assert isinstance(third, ops.Enqueued)
        assert lab.drain() == ["taken", "a", "b"]

    @promise("G10")
    def test_an_id_used_twice_in_a_batch_conflicts_with_itself(self, lab: Lab) -> None:
        operations = [ops.Enqueue(message=lab.message("t"), enqueue_id=lab.fresh()) for _ in range(3)]
        answers = lab.execute_many(operations)
        assert sum(isinstance(answer, ops.Enqueued) for answer in answers) == 1
        assert sum(isinstance(answer, TaskIDConflictError) for answer in answers) == 2
        assert lab.drain() == ["t"]

    # --- ids ----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("state", TaskState)
    @promise("G10")
    def test_an_id_conflict_changes_nothing(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(TaskIDConflictError) as conflict:
            lab.enqueue(lab.message("t", payload=b"other"))
        assert (conflict.value.queue, conflict.value.task_id) == ("q", "t")
        assert conflict.value.state in (state, None)
        assert lab.picture() == before

    def test_an_id_is_unique_within_its_queue_only(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", "q"))
        lab.enqueue(lab.message("t", "other", payload=b"other"))
        lab.execute(ops.Done(delivery=lab.take("q")))
        assert lab.task("t", "other").message.payload == b"other"

    def test_an_id_can_be_reused_when_its_task_is_done(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Done(delivery=lab.take()))
        lab.enqueue("t")
        assert lab.drain() == ["t"]

    @pytest.mark.parametrize("state", FINISHED)
    @promise("G10")
    def test_a_finished_task_is_replaced_on_request(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        message = lab.message("t", payload=b"second")
        lab.enqueue(message, on_conflict="replace_finished")
        stored = lab.task("t")
        assert (stored.state, stored.message, stored.result) == (TaskState.PENDING, message, None)
        assert lab.listed(state) == []
        assert lab.drain() == ["t"]

    @promise("G10")
    def test_replacing_a_task_removes_its_result(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=60))
        lab.execute(ops.Complete(delivery=lab.take(), result=b"old"))
        lab.enqueue("t", on_conflict="replace_finished", delay=HOUR)
        assert lab.task("t").result is None

    @pytest.mark.parametrize("state", UNFINISHED)
    @promise("G1", "G10")
    def test_an_unfinished_task_is_never_replaced(self, lab: Lab, state: TaskState) -> None:
        lab.bring(state)
        before = lab.picture()
        with pytest.raises(TaskIDConflictError):
            lab.enqueue("t", on_conflict="replace_finished")
        assert lab.picture() == before

    # --- sent again ---------------------------------------------------------------------------------

    @promise("G10")
    def test_a_repeated_enqueue_succeeds_with_the_same_answer(self, lab: Lab) -> None:
        first = lab.enqueue("t", enqueue_id="mine")
        lab.enqueue("later")
        assert lab.enqueue("t", enqueue_id="mine") == first
        assert lab.drain() == ["t", "later"]

    @promise("G10")
    def test_a_repeated_enqueue_returns_the_original_pending_time(self, lab: Lab) -> None:
        first = lab.enqueue("t", enqueue_id="mine")
        lab.advance(5 * SECOND)
        assert lab.enqueue("t", enqueue_id="mine") == first

    @promise("G10")
    def test_a_repeated_enqueue_into_a_group_succeeds(self, lab: Lab) -> None:
        first = lab.enqueue(lab.message("t", group="g"), enqueue_id="mine")
        assert lab.enqueue(lab.message("t", group="g"), enqueue_id="mine") == first
        assert first.state is TaskState.AGGREGATING

    @promise("G10")
    def test_a_repeated_scheduled_enqueue_keeps_its_due_time(self, lab: Lab) -> None:
        first = lab.enqueue("t", delay=MINUTE, enqueue_id="mine")
        lab.advance(5 * SECOND)
        assert lab.enqueue("t", delay=MINUTE, enqueue_id="mine") == first
        assert lab.task("t").due_at == first.due_at

    @promise("G10")
    def test_a_repeated_enqueue_succeeds_while_its_task_runs(self, lab: Lab) -> None:
        lab.enqueue("t", enqueue_id="mine")
        lab.take()
        lab.enqueue("t", enqueue_id="mine")
        assert lab.state("t") is TaskState.ACTIVE
        assert lab.drain() == []

    @promise("G10")
    def test_a_repeated_replacement_replaces_once(self, lab: Lab) -> None:
        lab.bring(TaskState.ARCHIVED)
        lab.enqueue("t", on_conflict="replace_finished", enqueue_id="mine")
        lab.enqueue("t", on_conflict="replace_finished", enqueue_id="mine")
        assert lab.drain() == ["t"]

    @promise("G10")
    def test_a_repeated_batch_adds_no_task(self, lab: Lab) -> None:
        operations = [
            ops.Enqueue(message=lab.message(f"t{number}"), enqueue_id=lab.fresh()) for number in range(60)
        ]
        first = lab.execute_many(operations)
        assert lab.execute_many(operations) == first
        assert len(lab.drain()) == 60

    # --- times --------------------------------------------------------------------------------------

    @pytest.mark.parametrize("offset", [-SECOND, -1, 0])
    @promise("G9")
    def test_a_task_with_a_past_time_is_pending(self, lab: Lab, offset: int) -> None:
        assert lab.enqueue("t", at=lab.now + offset) == ops.Enqueued(state=TaskState.PENDING, due_at=lab.now)

    @promise("G9")
    def test_a_task_due_in_one_millisecond_is_scheduled(self, lab: Lab) -> None:
        answer = lab.enqueue("t", at=lab.now + 1)
        assert answer == ops.Enqueued(state=TaskState.SCHEDULED, due_at=whole_second(lab.now + 1))
        assert lab.drain() == []

    @promise("G9")
    def test_a_task_with_a_delay_of_zero_is_pending(self, lab: Lab) -> None:
        assert lab.enqueue("t", delay=0).state is TaskState.PENDING

    @pytest.mark.parametrize("offset", [-1, 0, 1])
    @promise("G9")
    def test_a_due_time_is_rounded_up_to_a_whole_second(self, lab: Lab, offset: int) -> None:
        second = whole_second(lab.now + MINUTE)
        due = second if offset <= 0 else second + SECOND
        assert lab.enqueue("at", at=second + offset).due_at == due
        assert lab.enqueue("in", delay=second + offset - lab.now).due_at == due
        assert lab.task("at").due_at == lab.task("in").due_at == due

    # --- groups -------------------------------------------------------------------------------------

    def test_a_task_with_a_group_is_added_to_its_group(self, lab: Lab) -> None:
        lab.enqueue(lab.message("a", group="g"))
        lab.enqueue(lab.message("b", group="other"))
        assert lab.state("a") is TaskState.AGGREGATING
        assert lab.listed(TaskState.AGGREGATING, group="g") == ["a"]
        assert lab.listed(TaskState.AGGREGATING, group="other") == ["b"]
        stats = lab.stats()
        assert (stats.aggregating, stats.groups, stats.pending) == (2, 2, 0)
        assert lab.drain() == []

    @promise("G9")
    def test_a_scheduled_task_with_a_group_is_scheduled_first(self, lab: Lab) -> None:
        answer = lab.enqueue(lab.message("t", group="g"), delay=MINUTE)
        assert answer.state is TaskState.SCHEDULED
        assert lab.stats().scheduled == 1

    # --- queues -------------------------------------------------------------------------------------

    def test_a_queue_is_listed_after_its_first_enqueue(self, lab: Lab) -> None:
        assert lab.execute(ops.ListQueues()) == ()
        for queue in ("b", "a", "b"):
            lab.enqueue(replace(lab.message(lab.fresh()), queue=queue))
        assert lab.execute(ops.ListQueues()) == ("a", "b")

    def test_a_queue_deleted_by_another_broker_is_listed_again_after_an_enqueue(self, lab: Lab) -> None:
        lab.enqueue("t")
        assert lab.execute_elsewhere(ops.DeleteQueue(queue="q", force=True)).done
        assert lab.execute(ops.ListQueues()) == ()
        lab.enqueue("t")
        assert lab.execute(ops.ListQueues()) == ("q",)

    def test_an_emptied_queue_stays_listed(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.execute(ops.ListQueues()) == ("q",)
        assert lab.stats().size == 0
