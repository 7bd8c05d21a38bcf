"""Laws of Forward, PurgeCompleted and TrimArchive: maintenance of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BATCH_SIZES, BOUNDARY, HOUR, MINUTE, SECOND, Lab, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable


@promise("G9")
class UpkeepLaws(Laws):
    """Forwarding of due tasks, and removal of expired ones."""

    # --- forward --------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "due"), BOUNDARY)
    def test_a_scheduled_task_is_forwarded_when_due_and_not_before(
        self, lab: Lab, offset: int, due: bool
    ) -> None:
        at = lab.enqueue("t", delay=MINUTE).due_at
        lab.advance_to(at + offset)
        answer = lab.execute(ops.Forward(queue="q"))
        assert answer == (
            ops.Forwarded(moved=1, next_due=None) if due else ops.Forwarded(moved=0, next_due=at)
        )
        assert lab.state("t") is (TaskState.PENDING if due else TaskState.SCHEDULED)

    @pytest.mark.parametrize(("offset", "due"), BOUNDARY)
    def test_a_retried_task_is_forwarded_when_due_and_not_before(
        self, lab: Lab, offset: int, due: bool
    ) -> None:
        lab.enqueue("t")
        lab.execute(ops.Retry(delivery=lab.take(), delay=MINUTE, error="e"))
        lab.advance_to(lab.task("t").due_at + offset)
        assert lab.execute(ops.Forward(queue="q")).moved == int(due)
        assert lab.state("t") is (TaskState.PENDING if due else TaskState.RETRY)

    def test_the_waiting_time_of_a_forwarded_task_starts_at_its_forwarding(self, lab: Lab) -> None:
        lab.enqueue("t", delay=SECOND)
        lab.advance(MINUTE)
        lab.execute(ops.Forward(queue="q"))
        stored = lab.task("t")
        assert (stored.pending_since, stored.due_at) == (lab.now, 0)

    @promise("G7", "G9")
    def test_due_tasks_are_appended_in_due_order(self, lab: Lab) -> None:
        for name, delay in (("c", 30), ("a", 10), ("b", 20)):
            lab.enqueue(name, delay=delay * SECOND)
        lab.enqueue("waiting")
        lab.advance(MINUTE)
        assert lab.execute(ops.Forward(queue="q")).moved == 3
        assert lab.drain() == ["waiting", "a", "b", "c"]

    @promise("G7", "G9")
    def test_scheduled_and_retried_tasks_are_forwarded_in_one_due_order(self, lab: Lab) -> None:
        lab.enqueue("retried")
        lab.execute(ops.Retry(delivery=lab.take(), delay=20 * SECOND, error="e"))
        lab.enqueue("early", delay=10 * SECOND)
        lab.enqueue("late", delay=30 * SECOND)
        lab.advance(MINUTE)
        lab.execute(ops.Forward(queue="q"))
        assert lab.drain() == ["early", "retried", "late"]

    def test_a_limited_forwarding_moves_the_earliest_due_tasks(self, lab: Lab) -> None:
        lab.enqueue("retried")
        lab.execute(ops.Retry(delivery=lab.take(), delay=10 * SECOND, error="e"))
        lab.enqueue("scheduled", delay=20 * SECOND)
        lab.advance(MINUTE)
        assert lab.execute(ops.Forward(queue="q", limit=1)).moved == 1
        assert lab.drain() == ["retried"]

    @pytest.mark.parametrize("size", BATCH_SIZES)
    @promise("G1", "G9")
    def test_every_due_task_is_forwarded_once_in_batches(self, lab: Lab, size: int) -> None:
        ids = [f"t{number}" for number in range(size)]
        lab.execute_many(
            [
                ops.Enqueue(message=lab.message(i), enqueue_id=lab.fresh(), process_in=(n + 1) * SECOND)
                for n, i in enumerate(ids)
            ]
        )
        lab.advance(HOUR)
        moved = []
        while count := lab.execute(ops.Forward(queue="q")).moved:
            moved.append(count)
        assert sum(moved) == size
        assert all(count <= ops.MAX_BATCH for count in moved)
        assert lab.drain() == ids

    def test_forwarding_moves_no_more_than_its_limit_and_returns_the_next_due_time(self, lab: Lab) -> None:
        first = lab.enqueue("a", delay=10 * SECOND).due_at
        second = lab.enqueue("b", delay=20 * SECOND).due_at
        lab.advance(MINUTE)
        assert lab.execute(ops.Forward(queue="q", limit=1)) == ops.Forwarded(moved=1, next_due=second)
        assert first < second

    def test_the_next_due_time_covers_scheduled_and_retried_tasks(self, lab: Lab) -> None:
        lab.enqueue("retried")
        lab.execute(ops.Retry(delivery=lab.take(), delay=10 * SECOND, error="e"))
        lab.enqueue("scheduled", delay=20 * SECOND)
        due = whole_second(lab.now + 10 * SECOND)
        assert lab.execute(ops.Forward(queue="q")) == ops.Forwarded(moved=0, next_due=due)

    def test_an_unknown_queue_has_no_due_tasks(self, lab: Lab) -> None:
        assert lab.execute(ops.Forward(queue="unheard-of")) == ops.Forwarded(moved=0, next_due=None)
        assert lab.execute(ops.ListQueues()) == ()

    def test_tasks_of_a_paused_queue_are_forwarded(self, lab: Lab) -> None:
        lab.enqueue("t", delay=SECOND)
        lab.execute(ops.PauseQueue(queue="q"))
        lab.advance(MINUTE)
        assert lab.execute(ops.Forward(queue="q")).moved == 1

    def test_a_due_task_with_a_group_joins_its_group(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", group="g"), delay=SECOND)
        lab.advance(MINUTE)
        assert lab.execute(ops.Forward(queue="q")).moved == 1
        assert lab.listed(TaskState.AGGREGATING, group="g") == ["t"]
        assert lab.state("t") is TaskState.AGGREGATING
        assert lab.stats().groups == 1
        assert lab.drain() == []

    @promise("G11")
    def test_a_due_id_without_a_task_is_removed(self, lab: Lab) -> None:
        lab.enqueue("gone", delay=SECOND)
        lab.enqueue("t", delay=2 * SECOND)
        lab.harness.lose("q", "gone")
        lab.advance(MINUTE)
        lab.execute(ops.Forward(queue="q"))
        assert lab.drain() == ["t"]
        assert lab.execute(ops.Forward(queue="q")) == ops.Forwarded(moved=0, next_due=None)
        assert lab.state("gone") is None

    # --- completed tasks --------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "due"), BOUNDARY)
    def test_a_completed_task_is_purged_when_its_retention_ends(
        self, lab: Lab, offset: int, due: bool
    ) -> None:
        lab.bring(TaskState.COMPLETED)
        lab.advance_to(lab.task("t").due_at + offset)
        assert lab.execute(ops.PurgeCompleted(queue="q")) == int(due)
        assert lab.state("t") is (None if due else TaskState.COMPLETED)
        assert lab.stats().completed == int(not due)

    def test_a_purged_id_can_be_reused(self, lab: Lab) -> None:
        lab.bring(TaskState.COMPLETED)
        lab.advance(2 * HOUR)
        lab.execute(ops.PurgeCompleted(queue="q"))
        lab.enqueue("t")
        assert lab.task("t").result is None

    @pytest.mark.parametrize("size", BATCH_SIZES)
    def test_completed_tasks_are_purged_in_batches(self, lab: Lab, size: int) -> None:
        for number in range(size):
            lab.bring(TaskState.COMPLETED, f"t{number}")
        lab.bring(TaskState.PENDING, "kept")
        lab.advance(2 * HOUR)
        expected = [ops.MAX_BATCH] * (size // ops.MAX_BATCH) + [size % ops.MAX_BATCH]
        assert [lab.execute(ops.PurgeCompleted(queue="q")) for _ in expected] == expected
        assert lab.stats().size == 1

    def test_completed_tasks_are_purged_oldest_first(self, lab: Lab) -> None:
        for retention in (30, 10, 20):
            lab.enqueue(lab.message(f"t{retention}", retention=retention))
            lab.execute(ops.Complete(delivery=lab.take()))
        lab.advance(MINUTE)
        assert lab.execute(ops.PurgeCompleted(queue="q", limit=2)) == 2
        assert lab.listed(TaskState.COMPLETED) == ["t30"]

    # --- the archive ------------------------------------------------------------------------------------

    def test_the_archive_is_trimmed_to_its_size_oldest_first(self, lab: Lab) -> None:
        for name in ("a", "b", "c"):
            lab.bring(TaskState.ARCHIVED, name)
            lab.advance(SECOND)
        for size, trimmed, left in ((3, 0, ["a", "b", "c"]), (2, 1, ["b", "c"]), (0, 2, [])):
            assert lab.execute(ops.TrimArchive(queue="q", max_size=size)) == trimmed
            assert lab.listed(TaskState.ARCHIVED) == left
        assert lab.state("a") is None

    @pytest.mark.parametrize(("offset", "old"), [(-1, False), (0, True)])
    def test_the_archive_is_trimmed_by_age(self, lab: Lab, offset: int, old: bool) -> None:
        lab.bring(TaskState.ARCHIVED)
        lab.advance_to(lab.task("t").due_at + HOUR + offset)
        assert lab.execute(ops.TrimArchive(queue="q", max_age=HOUR)) == int(old)
        assert lab.state("t") is (None if old else TaskState.ARCHIVED)

    @pytest.mark.parametrize("size", BATCH_SIZES[1:])
    def test_the_archive_is_trimmed_in_batches(self, lab: Lab, size: int) -> None:
        for number in range(size):
            lab.bring(TaskState.ARCHIVED, f"t{number}")
        trimmed = []
        while count := lab.execute(ops.TrimArchive(queue="q", max_size=0)):
            trimmed.append(count)
        assert sum(trimmed) == size
        assert all(count <= ops.MAX_BATCH for count in trimmed)
        assert lab.stats().size == 0

    def test_a_trimmed_id_can_be_reused(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        lab.execute(ops.WriteResult(lease=delivery.lease, result=b"old"))
        lab.execute(ops.Archive(delivery=delivery, error="e"))
        lab.execute(ops.TrimArchive(queue="q", max_size=0))
        lab.enqueue("t")
        assert lab.task("t").result is None

    def test_purging_and_trimming_an_unknown_queue_removes_nothing(self, lab: Lab) -> None:
        assert lab.execute(ops.PurgeCompleted(queue="unheard-of")) == 0
        assert lab.execute(ops.TrimArchive(queue="unheard-of")) == 0

    # --- many queues --------------------------------------------------------------------------------------

    @promise("G9", "G11")
    def test_maintenance_of_many_queues_in_a_batch_equals_maintenance_of_each(self, lab: Lab) -> None:
        queues = [f"q{number:02}" for number in range(40)]
        for queue in queues[:5]:
            lab.enqueue(lab.message("t", queue), delay=SECOND)
        later = lab.enqueue(lab.message("t", queues[5]), delay=HOUR).due_at
        for queue in queues[10:15]:
            lab.enqueue(lab.message("t", queue))
            lab.execute(ops.Retry(delivery=lab.take(queue), delay=SECOND, error="e"))
        for queue in queues[20:25]:
            lab.enqueue(lab.message("t", queue))
            lab.take(queue)
        for queue in queues[30:35]:
            lab.enqueue(lab.message("t", queue))
            lab.execute(ops.Archive(delivery=lab.take(queue), error="e"))
        for queue in queues[35:]:
            lab.enqueue(lab.message("t", queue, retention=1))
            lab.execute(ops.Complete(delivery=lab.take(queue)))
        lab.advance(10 * MINUTE)

        def of_each(op: Callable[[str], ops.Op[Any]]) -> list[Any]:
            return lab.execute_many([op(queue) for queue in queues])

        first = of_each(lambda queue: ops.Forward(queue=queue))
        assert [answer.moved for answer in first] == [1] * 5 + [0] * 5 + [1] * 5 + [0] * 25
        second = of_each(lambda queue: ops.Forward(queue=queue))
        assert [answer.next_due for answer in second] == [None] * 5 + [later] + [None] * 34
        lost = of_each(lambda queue: ops.ListLostLeases(queue=queue))
        assert [len(answer.leases) for answer in lost] == [0] * 20 + [1] * 5 + [0] * 15
        adopted = of_each(lambda queue: ops.AdoptOrphans(queue=queue, grace=SECOND))
        assert [answer.adopted for answer in adopted] == [0] * 40
        trimmed = of_each(lambda queue: ops.TrimArchive(queue=queue, max_size=0))
        assert trimmed == [0] * 30 + [1] * 5 + [0] * 5
        assert of_each(lambda queue: ops.PurgeCompleted(queue=queue)) == [0] * 35 + [1] * 5
        assert len(lab.dequeue(*queues, count=15)) == 10

    def test_maintenance_does_not_list_a_queue_without_tasks(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Done(delivery=lab.take()))
        lab.execute(ops.DeleteQueue(queue="q"))
        for queue in ("q", "never used"):
            lab.execute_many(
                [
                    ops.Forward(queue=queue),
                    ops.ListLostLeases(queue=queue),
                    ops.AdoptOrphans(queue=queue, grace=SECOND),
                    ops.PurgeCompleted(queue=queue),
                    ops.TrimArchive(queue=queue),
                ]
            )
        assert lab.execute(ops.ListQueues()) == ()
