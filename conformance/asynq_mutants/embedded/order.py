"""Brokers with defects in the order of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol.ops import Dequeue
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq_sqlite.store.rows import TaskRow


@caught_by("test_tasks_are_delivered_in_the_order_of_enqueueing", bug=29)
@caught_by("test_a_batch_into_one_queue_keeps_its_order", size=50)
class LastInFirstOut(TaskStore):
    def tail(self, queue: str, now: int) -> Place:
        return self.head(queue, now)


@caught_by("test_a_requeued_task_is_delivered_next_and_not_counted", bug=30)
@caught_by("test_a_task_recovered_as_pending_is_delivered_next")
class RequeuesAtTheTail(TaskStore):
    def head(self, queue: str, now: int) -> Place:
        return self.tail(queue, now)


@caught_by("test_due_tasks_are_appended_in_due_order")
class ForwardsBackwards(TaskStore):
    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        return reversed(list(super().due(queue, now, limit)))


@caught_by("test_a_paused_queue_is_skipped", bug=33)
class IgnoresPauses(TaskStore):
    def is_paused(self, queue: str) -> bool:
        return False


@caught_by("test_pausing_affects_only_the_named_queue")
class PausesEverything(TaskStore):
    def is_paused(self, queue: str) -> bool:
        return bool(self.fetch("SELECT 1 FROM paused"))


@caught_by("test_queues_are_tried_in_the_order_of_the_caller", bug=31)
@instead_of(Dequeue)
def goes_by_the_alphabet(correct: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    return correct(store, replace(op, orders=tuple(tuple(sorted(order)) for order in op.orders)), now)


@caught_by("test_the_first_queue_of_an_order_with_a_pending_task_is_used", bug=32)
@instead_of(Dequeue)
def consults_the_third_before_the_second(correct: Any, store: TaskStore, op: Dequeue, now: int) -> Any:
    orders = tuple((*order[:1], *order[2:3], *order[1:2], *order[3:]) for order in op.orders)
    return correct(store, replace(op, orders=orders), now)
