"""Steps for management and examination: payloads, cancellation, whole queues, damage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.brokerkit.transitions import MAX_INSTANT
from asynq.task_state import TaskState
from asynq_sqlite.store.connection import StoreConnection
from asynq_sqlite.store.rows import MESSAGE_COLUMNS, SELECT_TASK, TaskRow, encode

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage

_STRAY: Final = (
    "queue = ? AND name > ? AND until != 'expiry' AND NOT EXISTS"
    " (SELECT 1 FROM tasks WHERE tasks.queue = locks.queue AND tasks.id = locks.task_id)"
)
_ROW_OVERHEAD: Final = 200
"""Approximate number of bytes of the numbers of a task and of its index entries."""


class ManageSteps(StoreConnection):
    """Steps for the operations of inspectors."""

    def rewrite(self, task: TaskRow, message: TaskMessage) -> None:
        """Replace the message of the task. It keeps its place."""
        assignments = ", ".join(f"{name} = ?" for name in MESSAGE_COLUMNS)
        values = (*encode(message), task.seq)
        self.connection.execute(f"UPDATE tasks SET {assignments} WHERE seq = ?", values)

    def rename_lock(self, task: TaskRow, name: str) -> None:
        """Rename the lock of the task to a name that is free."""
        self.connection.execute("DELETE FROM locks WHERE name = ?", (name,))
        self.connection.execute(
            "UPDATE locks SET name = ? WHERE name = ? AND queue = ? AND task_id = ?",
            (name, task.unique_key, task.queue, task.id),
        )

    def reschedule(self, task: TaskRow, due: int, lock: str) -> None:
        """Give the scheduled or retried task another due time. The lock of a scheduled one moves with it."""
        self.connection.execute("UPDATE tasks SET rank = ? WHERE seq = ?", (due, task.seq))
        if task.state == TaskState.SCHEDULED:
            self.connection.execute(
                "UPDATE locks SET expires_at = min(expires_at + ?, ?)"
                " WHERE name = ? AND queue = ? AND task_id = ?",
                (due - task.rank, MAX_INSTANT, lock, task.queue, task.id),
            )

    def mark_cancelled(self, task_id: str, queue: str | None, then: str) -> bool:
        """Record a cancellation in the active task. Returns False if no such task is active."""
        sql = "UPDATE tasks SET cancel = ? WHERE id = ? AND state = 'active'"
        values: tuple[Any, ...] = (then, task_id)
        if queue is not None:
            sql, values = f"{sql} AND queue = ?", (*values, queue)
        return self.connection.execute(sql, values).rowcount > 0

    def some_tasks(self, queue: str, limit: int) -> list[TaskRow]:
        """Return tasks in any state."""
        found = self.fetch(f"{SELECT_TASK} WHERE queue = ? LIMIT ?", queue, limit)
        return [TaskRow._make(columns) for columns in found]

    def forget_queue(self, queue: str) -> None:
        """Delete everything else of a queue without tasks, except locks that only expiry releases."""
        self.connection.execute("DELETE FROM queues WHERE name = ?", (queue,))
        self.listed.discard(queue)
        self.connection.execute("DELETE FROM locks WHERE queue = ? AND until != 'expiry'", (queue,))
        for table in ("paused", "daily", "aggregations", "sequences"):
            self.connection.execute(f"DELETE FROM {table} WHERE queue = ?", (queue,))

    def task_bytes(self, queue: str, sample: int) -> float:
        """Return the mean size of the first `sample` tasks of a queue, in bytes."""
        size = "length(id) + length(type) + length(payload) + length(headers) + length(error)"
        sql = (
            f"SELECT coalesce(avg({size} + coalesce(length(result), 0) + {_ROW_OVERHEAD}), 0)"
            " FROM (SELECT * FROM tasks WHERE queue = ? LIMIT ?)"
        )
        return float(self.fetch(sql, queue, sample)[0][0])

    def tasks_after(self, queue: str, seq: int, limit: int) -> list[TaskRow]:
        """Return tasks in any state created after the one with this `seq`, in the order of their creation."""
        sql = f"{SELECT_TASK} WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [TaskRow._make(found) for found in self.fetch(sql, queue, seq, limit)]

    def leave_set(self, task: TaskRow) -> None:
        """Return the task to its group."""
        self.connection.execute("UPDATE tasks SET set_id = NULL WHERE seq = ?", (task.seq,))

    def stray_locks(self, queue: str, after: str, limit: int) -> list[str]:
        """Return names of locks that a task, which no longer exists, should have released."""
        sql = f"SELECT name FROM locks WHERE {_STRAY} ORDER BY name LIMIT ?"
        return [name for (name,) in self.fetch(sql, queue, after, limit)]

    def drop_lock(self, name: str) -> None:
        """Delete the lock."""
        self.connection.execute("DELETE FROM locks WHERE name = ?", (name,))

    def unlisted_queues(self) -> list[str]:
        """Return queues that have tasks and are not listed."""
        sql = "SELECT DISTINCT queue FROM tasks WHERE queue NOT IN (SELECT name FROM queues)"
        return [queue for (queue,) in self.fetch(sql)]
