"""Stores with defects in semaphores and rate limits."""

from __future__ import annotations

from asynq_mutants.defects import caught_by
from asynq_sqlite.store.task_store import TaskStore


@caught_by("test_a_limit_counts_tasks_taken_by_other_workers")
@caught_by("test_settled_and_recovered_tasks_do_not_count_towards_a_limit")
class ForgetsWhatOthersTook(TaskStore):
    def active_count(self, queue: str) -> int:
        return 0


@caught_by("test_a_semaphore_grants_no_more_slots_than_its_limit", limit=3)
class ForgetsHolders(TaskStore):
    def holders(self, scope: str) -> dict[str, int]:
        return {}


@caught_by("test_a_slot_is_free_from_its_expiry")
class KeepsSlotsForEver(TaskStore):
    def free_ended_slots(self, scope: str, now: int) -> None:
        pass


@caught_by("test_no_period_contains_more_tokens_than_the_limit")
class CountsInFixedWindows(TaskStore):
    def token_taken(self, scope: str, place: int) -> int | None:
        taken = super().token_taken(scope, place)
        return None if taken is None else taken // 10_000 * 10_000


@caught_by("test_a_refused_request_takes_no_token")
class TakesWhenItRefuses(TaskStore):
    def token_taken(self, scope: str, place: int) -> int | None:
        taken = super().token_taken(scope, place)
        if taken is not None:
            self.take_token(scope, taken + 10_000, 0)
        return taken
