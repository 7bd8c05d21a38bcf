"""Brokers that break what is promised of order. See `asynq_mutants`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from asynq.protocol.ops import Dequeue
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_tasks_come_out_in_the_order_in_which_they_went_in", bug=29)
@caught_by("test_a_batch_into_one_queue_keeps_its_order", size=50)
class LastInFirstOut(TaskStore):
    def tail(self, queue: str, now: int) -> Place:
        return self.head(queue, now)


@caught_by("test_a_requeued_task_is_next_and_nothing_is_counted", bug=30)
@caught_by("test_a_task_recovered_as_pending_is_next")
class RequeuesAtTheTail(TaskStore):
    def head(self, queue: str, now: int) -> Place:
        return self.tail(queue, now)


@caught_by("test_due_tasks_go_to_the_tail_in_due_order")
class ForwardsBackwards(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return reversed(list(super().due(queue, now, limit)))


@caught_by("test_a_paused_queue_is_skipped", bug=33)
class IgnoresPauses(TaskStore):
    def is_paused(self, queue: str) -> bool:
        return False


@caught_by("test_one_queue_is_paused_and_no_other")
class PausesEverything(TaskStore):
    def is_paused(self, queue: str) -> bool:
        return bool(self.fetch("SELECT 1 FROM paused"))


@caught_by("test_order_is_the_callers_not_the_alphabets", bug=31)
@instead_of(Dequeue)
def goes_by_the_alphabet(honest: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    return honest(store, evolve(op, orders=tuple(tuple(sorted(order)) for order in op.orders)), now)


@caught_by("test_the_first_queue_of_an_order_that_has_a_task_gives_it", bug=32)
@instead_of(Dequeue)
def consults_the_third_before_the_second(honest: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    orders = tuple((*order[:1], *order[2:3], *order[1:2], *order[3:]) for order in op.orders)
    return honest(store, evolve(op, orders=orders), now)
