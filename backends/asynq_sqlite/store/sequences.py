"""Steps for sequences: which tasks are left in them, and whose turn it is."""

from __future__ import annotations

from typing import Final

from asynq.protocol.sequences import WAITING
from asynq.protocol.transfer import PARKED
from asynq_sqlite.store.connection import StoreConnection
from asynq_sqlite.store.rows import SELECT_TASK, TaskRow

_HEAD: Final = "SELECT task_id FROM sequences WHERE queue = ? AND name = ? ORDER BY place LIMIT 1"
_NOT_WAITING: Final = (
    f"{SELECT_TASK} WHERE queue = ? AND state = 'scheduled' AND rank NOT IN (?, ?) ORDER BY rank, seq LIMIT ?"
)


class SequenceSteps(StoreConnection):
    """Steps for the places of tasks in their sequences."""

    def join_sequence(self, queue: str, name: str, task_id: str) -> None:
        """Give the task the last place of the sequence, in place of one that it may have."""
        self.connection.execute(
            "INSERT OR REPLACE INTO sequences (queue, name, task_id) VALUES (?, ?, ?)", (queue, name, task_id)
        )

    def leave_sequence(self, queue: str, task_id: str) -> None:
        """Remove the task from its sequence."""
        self.connection.execute("DELETE FROM sequences WHERE queue = ? AND task_id = ?", (queue, task_id))

    def has_place(self, queue: str, task_id: str) -> bool:
        """Return whether the task has a place in a sequence."""
        return bool(self.fetch("SELECT 1 FROM sequences WHERE queue = ? AND task_id = ?", queue, task_id))

    def first_of_sequence(self, queue: str, name: str) -> str | None:
        """Return the id of the task with the first place; None if the sequence has no task."""
        found = self.fetch(_HEAD, queue, name)
        return found[0][0] if found else None

    def first_not_waiting(self, queue: str, limit: int) -> list[TaskRow]:
        """Return the first scheduled tasks that do not wait in a sequence and are not parked."""
        found = self.fetch(_NOT_WAITING, queue, WAITING, PARKED, limit)
        return [TaskRow._make(columns) for columns in found]

    def sequences_after(self, queue: str, name: str, limit: int) -> list[str]:
        """Return the names of sequences, in their order, after the one with this name."""
        sql = "SELECT DISTINCT name FROM sequences WHERE queue = ? AND name > ? ORDER BY name LIMIT ?"
        return [found for (found,) in self.fetch(sql, queue, name, limit)]
