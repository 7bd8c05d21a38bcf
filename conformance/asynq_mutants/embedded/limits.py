"""Stores broken on purpose in how they limit; see `asynq_mutants`."""

from __future__ import annotations

from asynq_mutants.defects import caught_by
from asynq_sqlite.store.task_store import TaskStore


@caught_by("test_a_limit_counts_what_others_took")
@caught_by("test_a_settled_task_makes_room_within_a_limit_and_so_does_a_recovered_one")
class ForgetsWhatOthersTook(TaskStore):
    def active_count(self, queue: str) -> int:
        return 0


@caught_by("test_a_semaphore_has_so_many_slots_and_no_more", limit=3)
class ForgetsHolders(TaskStore):
    def holders(self, scope: str) -> dict[str, int]:
        return {}


@caught_by("test_a_slot_is_free_when_its_time_has_ended_and_not_before")
class KeepsSlotsForEver(TaskStore):
    def free_ended_slots(self, scope: str, now: int) -> None:
        pass


@caught_by("test_no_span_has_more_tokens_than_the_limit")
class CountsInFixedWindows(TaskStore):
    def token_taken(self, scope: str, place: int) -> int | None:
        taken = super().token_taken(scope, place)
        return None if taken is None else taken // 10_000 * 10_000


@caught_by("test_a_refusal_takes_nothing")
class TakesWhenItRefuses(TaskStore):
    def token_taken(self, scope: str, place: int) -> int | None:
        taken = super().token_taken(scope, place)
        if taken is not None:
            self.take_token(scope, taken + 10_000, 0)
        return taken
