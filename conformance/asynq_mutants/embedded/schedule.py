"""Stores that break what is promised of ticks and presence. See `asynq_mutants`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq_mutants.defects import caught_by
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from asynq_sqlite.store.presence import TickMark


@caught_by("test_a_tick_is_enqueued_once_by_however_many")
@caught_by("test_ticks_are_decided_in_ascending_order")
@caught_by("test_a_tick_whose_id_is_taken_is_refused_once_and_for_all")
class ForgetsTicks(TaskStore):
    def mark_tick(self, queue: str, entry_id: str, mark: TickMark, expires_at: int, now: int) -> None:
        pass


@caught_by("test_entries_and_queues_have_ticks_of_their_own")
class OneTickForAll(TaskStore):
    def last_tick(self, queue: str, entry_id: str, now: int) -> TickMark | None:
        return super().last_tick("q", "e", now)


@caught_by("test_a_tick_sent_again_gets_the_same_answer")
class ForgetsWhoDecided(TaskStore):
    def mark_tick(self, queue: str, entry_id: str, mark: TickMark, expires_at: int, now: int) -> None:
        super().mark_tick(queue, entry_id, mark._replace(enqueue_id=""), expires_at, now)


@caught_by("test_a_tick_is_remembered_as_long_as_was_asked")
class RemembersTicksForEver(TaskStore):
    def last_tick(self, queue: str, entry_id: str, now: int) -> TickMark | None:
        return super().last_tick(queue, entry_id, 0)


@caught_by("test_a_server_that_died_is_seen_until_its_time_is_over")
@caught_by("test_a_scheduler_that_died_is_seen_until_its_time_is_over")
class ShowsTheDead(TaskStore):
    def seen(self, kind: str, now: int) -> list[str]:
        return super().seen(kind, 0)


@caught_by("test_a_server_that_goes_is_seen_no_more_and_others_are")
@caught_by("test_a_scheduler_that_goes_takes_its_entries_along")
class ShowsTheGone(TaskStore):
    def hide(self, kind: str, name: str) -> None:
        pass


@caught_by("test_only_the_latest_events_are_kept")
class KeepsAllEvents(TaskStore):
    def keep_events(self, entry_id: str, count: int) -> None:
        pass
