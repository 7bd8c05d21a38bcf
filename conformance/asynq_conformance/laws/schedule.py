"""Laws of ticks: EnqueueTick, GetLastTick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.errors import AsynqError, DuplicateTaskError, TaskIDConflictError
from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, MINUTE, SECOND, START, Lab, lock_name
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

FIRST_TICK = START - 250


def tick_of(
    lab: Lab,
    task_id: str = "t",
    *,
    at: int = FIRST_TICK,
    entry_id: str = "e",
    enqueue_id: str = "",
    message: TaskMessage | None = None,
    unique: ops.Unique | None = None,
    keep: int = HOUR,
) -> ops.EnqueueTick:
    """A tick that enqueues a plain task."""
    enqueue = ops.Enqueue(
        message=message or lab.message(task_id), enqueue_id=enqueue_id or lab.fresh(), unique=unique
    )
    return ops.EnqueueTick(entry_id=entry_id, tick=at, keep=keep, enqueue=enqueue)


@promise("G9")
class ScheduleLaws(Laws):
    """Each tick is enqueued once."""

    def last(self, lab: Lab, entry_id: str = "e") -> int | None:
        """The entry's latest tick."""
        return lab.execute(ops.GetLastTick(queue="q", entry_id=entry_id))

    def test_a_tick_enqueues_its_task_and_is_recorded(self, lab: Lab) -> None:
        assert self.last(lab) is None
        answer = lab.execute(tick_of(lab))
        assert answer == ops.Ticked(enqueued=ops.Enqueued(state=TaskState.PENDING, due_at=lab.now))
        assert lab.execute(ops.ListQueues()) == ("q",)
        assert self.last(lab) == FIRST_TICK
        assert lab.take().message == lab.message("t")

    @promise("G4", "G9")
    def test_a_tick_sent_by_several_schedulers_is_enqueued_once(self, lab: Lab) -> None:
        answers = lab.execute_at_once([tick_of(lab, f"t{number}") for number in range(10)])
        made = [answer for answer in answers if isinstance(answer, ops.Ticked) and answer.enqueued]
        assert len(made) == 1
        assert [answer for answer in answers if answer not in made] == [ops.Ticked()] * 9
        assert lab.stats().pending == 1

    @pytest.mark.parametrize("count", [2, ops.MAX_BATCH + 1])
    def test_ticks_of_one_batch_are_independent(self, lab: Lab, count: int) -> None:
        batch = [tick_of(lab, f"t{n}", entry_id=f"e{n // 2}") for n in range(count)]
        answers = lab.execute_many(batch)
        enqueued = [isinstance(answer, ops.Ticked) and answer.enqueued is not None for answer in answers]
        assert enqueued == [number % 2 == 0 for number in range(count)]
        assert lab.drain() == [f"t{number}" for number in range(0, count, 2)]

    @promise("G4", "G9")
    def test_a_tick_is_not_enqueued_again_after_its_task_has_run(self, lab: Lab) -> None:
        lab.execute(tick_of(lab))
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.execute(tick_of(lab)) == ops.Ticked()
        assert lab.drain() == []

    def test_ticks_are_decided_in_ascending_order(self, lab: Lab) -> None:
        lab.execute(tick_of(lab, "t1"))
        assert lab.execute(tick_of(lab, "t0", at=FIRST_TICK - 1)) == ops.Ticked()
        assert self.last(lab) == FIRST_TICK
        assert lab.execute(tick_of(lab, "t2", at=FIRST_TICK + 1)).enqueued
        assert self.last(lab) == FIRST_TICK + 1
        assert lab.drain() == ["t1", "t2"]

    def test_ticks_are_separate_for_each_entry_and_queue(self, lab: Lab) -> None:
        lab.execute(tick_of(lab, "t1"))
        assert lab.execute(tick_of(lab, "t2", entry_id="other")).enqueued
        assert lab.execute(tick_of(lab, message=lab.message("t3", "other"))).enqueued

    @pytest.mark.parametrize(("early", "enqueued"), [(1, False), (0, True)])
    def test_a_tick_in_the_future_is_not_enqueued(self, lab: Lab, early: int, enqueued: bool) -> None:
        answer = lab.execute(tick_of(lab, at=lab.now + early))
        assert (answer.early, answer.enqueued is not None) == (early, enqueued)
        assert lab.state() == (TaskState.PENDING if enqueued else None)
        assert (self.last(lab) is not None) == enqueued

    @promise("G10")
    def test_a_repeated_tick_returns_the_same_answer(self, lab: Lab) -> None:
        first = lab.execute(tick_of(lab, enqueue_id="mine"))
        lab.advance(5 * SECOND)
        assert lab.execute(tick_of(lab, enqueue_id="mine")) == first
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.execute(tick_of(lab, enqueue_id="mine")) == first
        assert lab.drain() == []

    def test_a_tick_with_an_id_conflict_is_refused_permanently(self, lab: Lab) -> None:
        lab.enqueue("t")
        with pytest.raises(TaskIDConflictError):
            lab.execute(tick_of(lab))
        assert self.last(lab) == FIRST_TICK
        lab.execute(ops.Done(delivery=lab.take()))
        assert lab.execute(tick_of(lab)) == ops.Ticked()
        assert lab.drain() == []

    @promise("G4")
    def test_a_tick_with_a_held_lock_is_refused_permanently(self, lab: Lab) -> None:
        unique = ops.Unique(ttl=HOUR)
        lab.enqueue(lab.message("holder", lock=lock_name()), unique=unique)
        with pytest.raises(DuplicateTaskError):
            lab.execute(tick_of(lab, message=lab.message("t", lock=lock_name()), unique=unique))
        lab.execute(ops.Done(delivery=lab.take()))
        later = tick_of(lab, message=lab.message("t", lock=lock_name()), unique=unique)
        assert lab.execute(later) == ops.Ticked()
        assert lab.drain() == []

    @promise("G10")
    def test_a_refused_tick_does_not_affect_others_of_its_batch(self, lab: Lab) -> None:
        lab.enqueue("taken")
        batch = [tick_of(lab, task_id, entry_id=task_id) for task_id in ("a", "taken", "b")]
        answers = lab.execute_many(batch)
        assert [isinstance(answer, AsynqError) for answer in answers] == [False, True, False]
        assert lab.drain() == ["taken", "a", "b"]

    def test_a_tick_is_recorded_for_the_requested_time(self, lab: Lab) -> None:
        lab.execute(tick_of(lab, keep=MINUTE))
        lab.advance(MINUTE - 2 * SECOND)
        assert self.last(lab) == FIRST_TICK
        lab.advance(4 * SECOND)
        assert self.last(lab) is None
