"""Laws of concurrent callers: every operation is atomic."""

from __future__ import annotations

from asynq.errors import DuplicateTaskError, LeaseLostError, TaskIDConflictError
from asynq.protocol import ops
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, LEASE, SECOND, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.laws.sequences import enqueue, in_sequence, run_all
from asynq_conformance.promises import promise

CALLERS = 40


@promise("G10")
class ConcurrentLaws(Laws):
    """Behaviour that must not depend on which caller comes first."""

    @promise("G3")
    def test_concurrent_dequeues_take_each_task_once(self, lab: Lab) -> None:
        ids = [f"t{number:03}" for number in range(200)]
        lab.enqueue_all(ids)
        answers = lab.execute_at_once(
            [ops.Dequeue(orders=(("q",),) * 7, token=lab.fresh(), lease=LEASE) for _ in range(CALLERS)]
        )
        taken = [d.message.id for answer in answers if isinstance(answer, tuple) for d in answer]
        assert sorted(taken) == ids

    @promise("G1")
    def test_concurrent_enqueues_all_succeed(self, lab: Lab) -> None:
        ids = [f"t{number:03}" for number in range(CALLERS)]
        answers = lab.execute_at_once(
            [ops.Enqueue(message=lab.message(name), enqueue_id=lab.fresh()) for name in ids]
        )
        assert all(isinstance(answer, ops.Enqueued) for answer in answers)
        assert sorted(lab.drain()) == ids

    @promise("G4")
    def test_one_of_several_concurrent_unique_enqueues_succeeds(self, lab: Lab) -> None:
        answers = lab.execute_at_once(
            [
                ops.Enqueue(
                    message=lab.message(f"t{number}", lock=lock_name()),
                    enqueue_id=lab.fresh(),
                    unique=ops.Unique(ttl=HOUR),
                )
                for number in range(CALLERS)
            ]
        )
        assert sum(isinstance(answer, DuplicateTaskError) for answer in answers) == CALLERS - 1
        assert len(lab.drain()) == 1

    def test_one_of_several_concurrent_enqueues_with_the_same_id_succeeds(self, lab: Lab) -> None:
        answers = lab.execute_at_once(
            [ops.Enqueue(message=lab.message("t"), enqueue_id=lab.fresh()) for _ in range(CALLERS)]
        )
        assert sum(isinstance(answer, TaskIDConflictError) for answer in answers) == CALLERS - 1
        assert lab.drain() == ["t"]

    def test_concurrent_copies_of_an_enqueue_take_effect_once(self, lab: Lab) -> None:
        copies = [ops.Enqueue(message=lab.message("t"), enqueue_id="mine")] * CALLERS
        answers = lab.execute_at_once(copies)
        assert all(isinstance(answer, ops.Enqueued) for answer in answers)
        assert lab.drain() == ["t"]

    @promise("G3", "G8")
    def test_one_of_several_concurrent_settlements_takes_effect(self, lab: Lab) -> None:
        lab.enqueue("t")
        delivery = lab.take()
        settlements: list[ops.Op[None]] = [
            ops.Done(delivery=delivery),
            ops.Archive(delivery=delivery, error="e"),
            ops.Retry(delivery=delivery, delay=SECOND, error="e"),
        ]
        answers = lab.execute_at_once(settlements * 10)
        assert all(answer is None or isinstance(answer, LeaseLostError) for answer in answers)
        assert lab.counters()[0] == 1
        assert lab.stats().active == 0

    @promise("G3")
    def test_one_of_several_concurrent_recoveries_succeeds(self, lab: Lab) -> None:
        lab.enqueue("t")
        lost = lab.lose_worker(lab.take())
        recovery = ops.Recover(lost=lost, to="pending", error="lost")
        assert sorted(map(bool, lab.execute_at_once([recovery] * CALLERS))) == [False] * (CALLERS - 1) + [
            True
        ]
        assert lab.drain() == ["t"]

    @promise("G9", "G10")
    def test_concurrent_forwarders_move_each_task_once(self, lab: Lab) -> None:
        ids = [f"t{number:02}" for number in range(60)]
        for name in ids:
            lab.enqueue(name, delay=SECOND)
        lab.advance(HOUR)
        lab.execute_at_once([ops.Forward(queue="q", limit=10)] * CALLERS)
        assert lab.listed(TaskState.SCHEDULED) == []
        assert sorted(lab.drain()) == ids

    @promise("G7", "G10")
    def test_one_of_several_concurrent_enqueues_into_a_sequence_is_its_head(self, lab: Lab) -> None:
        ids = [f"t{number:02}" for number in range(CALLERS)]
        answers = lab.execute_at_once(
            [ops.Enqueue(message=in_sequence(lab, name), enqueue_id=lab.fresh()) for name in ids]
        )
        waiting = ops.Enqueued(state=TaskState.SCHEDULED, due_at=WAITING)
        assert sum(answer == waiting for answer in answers) == CALLERS - 1
        assert sorted(run_all(lab)) == ids

    @promise("G2", "G7", "G10")
    def test_tasks_that_join_a_sequence_while_its_head_ends_run_in_turn(self, lab: Lab) -> None:
        enqueue(lab, "head")
        run, ids, ran = lab.take(), [], []
        for turn, count in enumerate((1, 7, 7)):
            joining = [f"{turn}-{number}" for number in range(count)]
            enqueues = [
                ops.Enqueue(message=in_sequence(lab, name), enqueue_id=lab.fresh()) for name in joining
            ]
            answers = lab.execute_at_once([ops.Done(delivery=run), *enqueues])
            assert all(answer is None or isinstance(answer, ops.Enqueued) for answer in answers)
            [run] = lab.dequeue(count=3)
            ids += joining
            ran.append(run.message.id)
        lab.execute(ops.Done(delivery=run))
        ran += run_all(lab)
        assert sorted(ran) == ids
        assert [name[0] for name in ran] == [name[0] for name in ids]
