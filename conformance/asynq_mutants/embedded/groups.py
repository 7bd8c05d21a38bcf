"""Stores with defects in groups and aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol.ops import TakeGroup
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet
    from asynq_sqlite.store.rows import FullRow, TaskRow


@caught_by("test_a_set_never_exceeds_the_maximum_size", bug=60)
class TakesWholeGroups(TaskStore):
    def oldest_of_group(self, queue: str, group: str, limit: int) -> list[FullRow]:
        return super().oldest_of_group(queue, group, limit * 100)


@caught_by("test_taken_tasks_leave_their_group_but_still_exist", bug=62)
@caught_by("test_concurrent_takes_return_each_task_once")
class LeavesTakenTasksInTheirGroup(TaskStore):
    def put_in_set(self, task: TaskRow, set_id: str) -> None:
        pass

    def rows_of_set(self, queue: str, group: str, set_id: str) -> list[FullRow]:
        return self.oldest_of_group(queue, group, 3)


@caught_by("test_a_group_is_ripe_after_its_grace_period_without_new_tasks", bug=61, offset=-1, ripe=False)
class TakesGroupsEarly(TaskStore):
    def group_span(self, queue: str, group: str) -> tuple[int, int, int]:
        size, oldest, newest = super().group_span(queue, group)
        return size, oldest, newest - 5


@caught_by("test_a_group_is_ripe_after_its_grace_period_without_new_tasks", offset=0, ripe=True)
class TakesGroupsLate(TaskStore):
    def group_span(self, queue: str, group: str) -> tuple[int, int, int]:
        size, oldest, newest = super().group_span(queue, group)
        return size, oldest, newest + 1


@caught_by("test_a_group_is_ripe_when_its_oldest_task_has_waited_for_the_maximum_delay", offset=0, ripe=True)
class KnowsTheNewestOnly(TaskStore):
    def group_span(self, queue: str, group: str) -> tuple[int, int, int]:
        size, _, newest = super().group_span(queue, group)
        return size, newest, newest


@caught_by("test_a_returned_set_keeps_its_original_waiting_time", bug=64)
class ReturnsAsNew(TaskStore):
    def put_in_set(self, task: TaskRow, set_id: str) -> None:
        self.connection.execute("UPDATE tasks SET rank = rank + 600000 WHERE seq = ?", (task.seq,))
        super().put_in_set(task, set_id)


@caught_by("test_a_set_is_reclaimed_when_its_hold_expires", offset=1000, reclaimed=1)
@caught_by("test_an_empty_group_is_listed_again_when_its_set_is_returned")
class LosesReturnedSets(TaskStore):
    def empty_set(self, queue: str, group: str, set_id: str) -> None:
        pass


@caught_by("test_a_set_is_reclaimed_when_its_hold_expires", offset=-1, reclaimed=0)
class ReclaimsEarly(TaskStore):
    def overdue_sets(self, queue: str, now: int, limit: int) -> list[tuple[str, str, str]]:
        return super().overdue_sets(queue, now + 5, limit)


@caught_by("test_an_extension_of_a_hold_counts_from_the_present")
class NeverHoldsLonger(TaskStore):
    def hold_set(self, queue: str, group: str, set_id: str, held_until: int) -> None:
        if self.held_until(queue, group, set_id) is None:
            super().hold_set(queue, group, set_id, held_until)


@caught_by("test_the_aggregate_replaces_its_tasks")
class KeepsAggregatedTasks(TaskStore):
    def tasks_of_set(self, taken: AggregationSet) -> list[TaskRow]:
        return []


@caught_by("test_a_finished_set_is_no_longer_held", end="return")
@caught_by("test_every_operation_on_a_reclaimed_set_fails_and_changes_nothing", end="finish")
@caught_by("test_a_set_that_was_taken_again_is_lost_to_its_first_holder", end="return")
class ForgetsNoSet(TaskStore):
    def forget_set(self, queue: str, group: str, set_id: str) -> None:
        pass


@caught_by("test_groups_are_listed_with_their_sizes_and_ages")
class GroupsByTheMillisecond(TaskStore):
    def grouped_place(self, now: int) -> Place:
        return super().grouped_place(now)._replace(rank=now)


@caught_by("test_a_group_is_ripe_at_its_maximum_size", bug=59, count=3, ripe=True)
@instead_of(TakeGroup)
def ignores_the_greatest_size(correct: Any, store: TaskStore, op: TakeGroup, now: int) -> Any:
    return correct(store, replace(op, max_size=0), now)


@caught_by("test_a_set_is_reclaimed_when_its_hold_expires", bug=63, offset=1000, reclaimed=1)
class LosesReclaimedTasks(TaskStore):
    def empty_set(self, queue: str, group: str, set_id: str) -> None:
        self.delete([row.task for row in self.rows_of_set(queue, group, set_id)])
