"""Steps for presence, ticks and enqueue events. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from typing import Final, NamedTuple

from asynq_sqlite.store.connection import StoreConnection

_NEVER: Final = 2**63 - 1
"""The expiry of a record that does not expire."""


class TickMark(NamedTuple):
    """The latest tick of an entry that was decided."""

    tick: int
    enqueue_id: str
    state: str
    """State in which its task was stored; empty if the task was refused."""
    due_at: int


class PresenceSteps(StoreConnection):
    """Steps for records that expire. Each write deletes expired records."""

    # --- presence --------------------------------------------------------------------------------------

    def show(self, kind: str, name: str, record: str, expires_at: int, now: int) -> None:
        """Store a record until that instant."""
        self.connection.execute("DELETE FROM presence WHERE expires_at <= ?", (now,))
        values = (kind, name, expires_at, record)
        self.connection.execute("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", values)

    def hide(self, kind: str, name: str) -> bool:
        """Delete a record. Returns False if there is none."""
        deleted = self.connection.execute("DELETE FROM presence WHERE kind = ? AND name = ?", (kind, name))
        return deleted.rowcount > 0

    def seen(self, kind: str, now: int) -> list[str]:
        """Return the records of a kind that have not expired, ordered by name."""
        sql = "SELECT record FROM presence WHERE kind = ? AND expires_at > ? ORDER BY name"
        return [record for (record,) in self.fetch(sql, kind, now)]

    # --- ticks -----------------------------------------------------------------------------------------

    def last_tick(self, queue: str, entry_id: str, now: int) -> TickMark | None:
        """Return the latest tick that was decided; None if there is no record."""
        sql = (
            "SELECT tick, enqueue_id, state, due_at FROM ticks"
            " WHERE queue = ? AND entry_id = ? AND expires_at > ?"
        )
        found = self.fetch(sql, queue, entry_id, now)
        return TickMark._make(found[0]) if found else None

    def mark_tick(self, queue: str, entry_id: str, mark: TickMark, expires_at: int, now: int) -> None:
        """Record until that instant that a tick was decided."""
        self.connection.execute("DELETE FROM ticks WHERE expires_at <= ?", (now,))
        values = (queue, entry_id, *mark, expires_at)
        self.connection.execute("INSERT OR REPLACE INTO ticks VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    # --- schedules -------------------------------------------------------------------------------------

    def keep_schedule(self, name: str, record: str, now: int) -> None:
        """Store a schedule. If it changes, it begins now. Its pause, a record of its own, does not change."""
        if self.fetch("SELECT record FROM presence WHERE kind = 'schedule' AND name = ?", name) != [
            (record,)
        ]:
            self._put("schedule", name, record)
            self.begin_schedule(name, now)

    def begin_schedule(self, name: str, now: int) -> None:
        """Record that the ticks of a schedule up to now are passed over."""
        self._put("schedule begin", name, str(now))

    def _put(self, kind: str, name: str, record: str) -> None:
        values = (kind, name, _NEVER, record)
        self.connection.execute("INSERT OR REPLACE INTO presence VALUES (?, ?, ?, ?)", values)

    def pause_schedule(self, name: str, now: int, *, paused: bool) -> bool:
        """Pause a schedule, or end its pause: it begins now. Returns False if it does not exist."""
        if not self.fetch("SELECT 1 FROM presence WHERE kind = 'schedule' AND name = ?", name):
            return False
        if paused:
            self._put("paused schedule", name, "")
        elif self.hide("paused schedule", name):
            self.begin_schedule(name, now)
        return True

    def delete_schedule(self, name: str) -> bool:
        """Delete a schedule, its pause and its beginning. Returns False if it does not exist."""
        self.hide("paused schedule", name)
        self.hide("schedule begin", name)
        return self.hide("schedule", name)

    def schedules(self) -> list[tuple[str, bool, int]]:
        """Return the records of all schedules, whether each is paused, and when it began; 0: not known."""
        found = self.fetch(
            "SELECT schedule.record, pause.name, began.record FROM presence AS schedule"
            " LEFT JOIN presence AS pause ON pause.kind = 'paused schedule' AND pause.name = schedule.name"
            " LEFT JOIN presence AS began ON began.kind = 'schedule begin' AND began.name = schedule.name"
            " WHERE schedule.kind = 'schedule'"
        )
        return [(record, pause is not None, int(began or 0)) for record, pause, began in found]

    # --- events ----------------------------------------------------------------------------------------

    def add_event(self, entry_id: str, task_id: str, at: int, expires_at: int, now: int) -> None:
        """Record that an entry enqueued a task. All events of the entry expire with the latest."""
        self.connection.execute("DELETE FROM enqueue_events WHERE expires_at <= ?", (now,))
        self.connection.execute(
            "INSERT OR IGNORE INTO enqueue_events VALUES (?, ?, ?, ?)", (entry_id, at, task_id, expires_at)
        )
        sql = "UPDATE enqueue_events SET expires_at = ? WHERE entry_id = ?"
        self.connection.execute(sql, (expires_at, entry_id))

    def keep_events(self, entry_id: str, count: int) -> None:
        """Delete all events of an entry except the latest `count`."""
        self.connection.execute(
            "DELETE FROM enqueue_events WHERE entry_id = ? AND (at, task_id) IN (SELECT at, task_id"
            " FROM enqueue_events WHERE entry_id = ? ORDER BY at DESC, task_id DESC LIMIT -1 OFFSET ?)",
            (entry_id, entry_id, count),
        )

    def events(self, entry_id: str, offset: int, limit: int, now: int) -> list[tuple[str, int]]:
        """Return ids of tasks that an entry enqueued, with instants in Unix microseconds, latest first."""
        sql = (
            "SELECT task_id, at FROM enqueue_events WHERE entry_id = ? AND expires_at > ?"
            " ORDER BY at DESC, task_id DESC LIMIT ? OFFSET ?"
        )
        return self.fetch(sql, entry_id, now, limit, offset)
