"""Steps for queues: their list, pauses and counters. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from asynq_sqlite.store.connection import StoreConnection

_STATISTICS_AGE: Final = timedelta(days=90)
_MAX_COUNT: Final = 2**63 - 1


class QueueSteps(StoreConnection):
    """Steps for the list of queues, their pauses and their counters."""

    def list_queue(self, queue: str) -> None:
        """List the queue."""
        if queue not in self.listed:
            self.connection.execute("INSERT OR IGNORE INTO queues (name) VALUES (?)", (queue,))
            self.listed.add(queue)

    def is_paused(self, queue: str) -> bool:
        """Return whether the queue is paused."""
        return bool(self.fetch("SELECT 1 FROM paused WHERE queue = ?", queue))

    def pause(self, queue: str, now: int) -> bool:
        """Pause the queue. Returns False if it was paused already."""
        sql = "INSERT OR IGNORE INTO paused VALUES (?, ?)"
        return self.connection.execute(sql, (queue, now)).rowcount > 0

    def unpause(self, queue: str) -> bool:
        """Resume the queue. Returns whether it was paused."""
        return self.connection.execute("DELETE FROM paused WHERE queue = ?", (queue,)).rowcount > 0

    def count(self, queue: str, now: int, *, runs: int, failed: int) -> None:
        """Count runs as processed and, of these, some as failed."""
        today = day(now)
        updated = self.connection.execute(
            "UPDATE daily SET processed = processed + ?, failed = failed + ? WHERE queue = ? AND day = ?",
            (runs, failed, queue, today),
        )
        if not updated.rowcount:
            self._start_day(queue, today, runs, failed, now)
        # Both totals start again after the largest integer, as in Go; sums of SQLite would become floats.
        self.connection.execute(
            "UPDATE queues SET"
            " processed = iif(processed > :max - :runs, processed - :max + :runs, processed + :runs),"
            " failed = iif(failed > :max - :failed, failed - :max + :failed, failed + :failed)"
            " WHERE name = :queue",
            {"max": _MAX_COUNT, "runs": runs, "failed": failed, "queue": queue},
        )

    def _start_day(self, queue: str, today: str, runs: int, failed: int, now: int) -> None:
        self.list_queue(queue)
        self.connection.execute("INSERT INTO daily VALUES (?, ?, ?, ?)", (queue, today, runs, failed))
        oldest = day(now - int(_STATISTICS_AGE.total_seconds()) * 1000)
        self.connection.execute("DELETE FROM daily WHERE queue = ? AND day < ?", (queue, oldest))

    def totals(self, queue: str) -> tuple[int, int] | None:
        """Return the numbers of all processed and failed runs; None for a queue that is not listed."""
        found = self.fetch("SELECT processed, failed FROM queues WHERE name = ?", queue)
        return found[0] if found else None

    def counted(self, queue: str, date: str) -> tuple[int, int]:
        """Return the numbers of processed and failed runs on a day."""
        found = self.fetch("SELECT processed, failed FROM daily WHERE queue = ? AND day = ?", queue, date)
        return found[0] if found else (0, 0)


def day(instant: int) -> str:
    """Return the UTC date of an instant."""
    return datetime.fromtimestamp(instant // 1000, UTC).date().isoformat()
