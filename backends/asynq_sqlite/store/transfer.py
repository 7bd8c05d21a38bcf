"""Steps for tasks that are transferred from one broker to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from asynq.protocol.transfer import PARKED
from asynq_sqlite.store.connection import StoreConnection

if TYPE_CHECKING:
    from asynq.protocol.transfer import TaskImage
    from asynq_sqlite.store.rows import TaskRow


class TransferSteps(StoreConnection):
    """Steps for parked tasks."""

    def park(self, task: TaskRow, mark: str) -> None:
        """Park the task, with a mark of the place that it had."""
        self.connection.execute(
            "UPDATE tasks SET state = 'scheduled', rank = ?, pending_since = 0, lease_token = ?"
            " WHERE seq = ?",
            (PARKED, mark, task.seq),
        )

    def complete_import(self, image: TaskImage, mark: str) -> None:
        """Give a new task everything of its image that is not in its message, and the mark of its place."""
        message = image.message
        values = (image.result, image.group, image.lease_losses, image.cancel, mark)
        self.connection.execute(
            "UPDATE tasks SET result = ?, group_name = ?, lease_losses = ?, cancel = ?, lease_token = ?"
            " WHERE queue = ? AND id = ?",
            (*values, message.queue, message.id),
        )

    def parked(self, queue: str, offset: int, limit: int) -> tuple[str, ...]:
        """Return ids of parked tasks, in the order in which they were created."""
        sql = (
            "SELECT id FROM tasks WHERE queue = ? AND state = 'scheduled' AND rank = ?"
            " ORDER BY seq LIMIT ? OFFSET ?"
        )
        return tuple(task_id for (task_id,) in self.fetch(sql, queue, PARKED, limit, offset))

    def place_in_sequence(self, queue: str, task_id: str) -> int:
        """Return the place of the task in its sequence; 0 if it has none."""
        found = self.fetch("SELECT place FROM sequences WHERE queue = ? AND task_id = ?", queue, task_id)
        return int(found[0][0]) if found else 0

    def lock_of(self, task: TaskRow, now: int) -> tuple[int, Literal["done", "expiry", "start"], bool] | None:
        """Return when the lock of the task ends, what else releases it, and whether it is kept; or None."""
        found = self.fetch(
            "SELECT expires_at, until, keep FROM locks"
            " WHERE name = ? AND queue = ? AND task_id = ? AND (expires_at > ? OR keep)",
            *(task.unique_key, task.queue, task.id, now),
        )
        return found[0] if found else None
