"""Stores with defects in ticks and presence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq_mutants.defects import caught_by
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from asynq_sqlite.store.presence import TickMark


@caught_by("test_a_tick_sent_by_several_schedulers_is_enqueued_once")
@caught_by("test_ticks_are_decided_in_ascending_order")
@caught_by("test_a_tick_with_an_id_conflict_is_refused_permanently")
class ForgetsTicks(TaskStore):
    def mark_tick(self, queue: str, entry_id: str, mark: TickMark, expires_at: int, now: int) -> None:
        pass


@caught_by("test_ticks_are_separate_for_each_entry_and_queue")
class OneTickForAll(TaskStore):
    def last_tick(self, queue: str, entry_id: str, now: int) -> TickMark | None:
        return super().last_tick("q", "e", now)


@caught_by("test_a_repeated_tick_returns_the_same_answer")
class ForgetsWhoDecided(TaskStore):
    def mark_tick(self, queue: str, entry_id: str, mark: TickMark, expires_at: int, now: int) -> None:
        super().mark_tick(queue, entry_id, mark._replace(enqueue_id=""), expires_at, now)


@caught_by("test_a_tick_is_recorded_for_the_requested_time")
class RemembersTicksForEver(TaskStore):
    def last_tick(self, queue: str, entry_id: str, now: int) -> TickMark | None:
        return super().last_tick(queue, entry_id, 0)


@caught_by("test_a_crashed_server_is_listed_until_its_heartbeat_expires")
@caught_by("test_entries_of_a_crashed_scheduler_are_listed_until_its_heartbeat_expires")
class ShowsTheDead(TaskStore):
    def seen(self, kind: str, now: int) -> list[str]:
        return super().seen(kind, 0)


@caught_by("test_a_deregistered_server_is_not_listed_but_others_are")
@caught_by("test_entries_of_a_deregistered_scheduler_are_not_listed")
class ShowsTheGone(TaskStore):
    def hide(self, kind: str, name: str) -> bool:
        return False


@caught_by("test_only_the_latest_enqueue_events_are_kept")
class KeepsAllEvents(TaskStore):
    def keep_events(self, entry_id: str, count: int) -> None:
        pass


@caught_by("test_a_replaced_schedule_stays_paused")
class EndsThePauseOfChangedSchedules(TaskStore):
    def keep_schedule(self, name: str, record: str, now: int) -> None:
        self.hide("paused schedule", name)
        super().keep_schedule(name, record, now)


@caught_by("test_a_deleted_schedule_is_gone_with_its_pause", name="nightly")
class RemembersThePauseOfDeletedSchedules(TaskStore):
    def delete_schedule(self, name: str) -> bool:
        return self.hide("schedule", name)


@caught_by("test_a_schedule_is_paused_until_its_pause_is_ended", name="nightly")
class PausesForEver(TaskStore):
    def pause_schedule(self, name: str, now: int, *, paused: bool) -> bool:
        return super().pause_schedule(name, now, paused=True)


@caught_by("test_a_schedule_replaces_the_one_of_its_name")
class KeepsTheFirstSchedule(TaskStore):
    def keep_schedule(self, name: str, record: str, now: int) -> None:
        self.connection.execute(
            "INSERT OR IGNORE INTO presence VALUES ('schedule', ?, 9223372036854775807, ?)", (name, record)
        )


@caught_by("test_a_schedule_begins_again_when_its_pause_ends", name="nightly")
class MakesUpForPauses(TaskStore):
    def pause_schedule(self, name: str, now: int, *, paused: bool) -> bool:
        [began, *_] = [since for record, _, since in self.schedules() if f'"name":"{name}"' in record] or [0]
        known = super().pause_schedule(name, now, paused=paused)
        if known:
            self.begin_schedule(name, began)
        return known


@caught_by("test_a_schedule_begins_again_when_its_pause_ends", name="nightly")
class BeginsWithEachEndOfAPause(TaskStore):
    def pause_schedule(self, name: str, now: int, *, paused: bool) -> bool:
        known = super().pause_schedule(name, now, paused=paused)
        if known and not paused:
            self.begin_schedule(name, now)
        return known


@caught_by("test_an_unchanged_schedule_does_not_begin_again")
class BeginsWithEachWrite(TaskStore):
    def keep_schedule(self, name: str, record: str, now: int) -> None:
        super().keep_schedule(name, record, now)
        self.begin_schedule(name, now)


@caught_by("test_a_changed_schedule_begins_at_the_change")
class ForgetsWhenAScheduleChanged(TaskStore):
    def begin_schedule(self, name: str, now: int) -> None:
        if not any(f'"name":"{name}"' in record and since for record, _, since in self.schedules()):
            super().begin_schedule(name, now)


@caught_by("test_a_deleted_schedule_leaves_no_beginning")
class RemembersWhenADeletedScheduleBegan(TaskStore):
    def delete_schedule(self, name: str) -> bool:
        self.hide("paused schedule", name)
        return self.hide("schedule", name)

    def begin_schedule(self, name: str, now: int) -> None:
        if not self.fetch("SELECT 1 FROM presence WHERE kind = 'schedule begin' AND name = ?", name):
            super().begin_schedule(name, now)
