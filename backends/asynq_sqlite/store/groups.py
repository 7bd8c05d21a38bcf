"""Steps for groups, and for the aggregation sets taken from them. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq_sqlite.store.connection import StoreConnection
from asynq_sqlite.store.rows import SELECT_ROW, SELECT_TASK, FullRow, TaskRow, row_of

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet

_WAITING: Final = "state = 'aggregating' AND set_id IS NULL"
_IN_SET: Final = "state = 'aggregating' AND queue = ? AND group_name = ? AND set_id = ?"


class GroupSteps(StoreConnection):
    """Steps for groups. A task of a group waits without a set, or is in exactly one set."""

    def group_count(self, queue: str) -> int:
        """Return the number of groups with waiting tasks."""
        sql = f"SELECT count(DISTINCT group_name) FROM tasks WHERE queue = ? AND {_WAITING}"
        return int(self.fetch(sql, queue)[0][0])

    def groups_after(self, queue: str, name: str, limit: int) -> list[tuple[str, int, int, int]]:
        """Return groups after this name: name, size, instants of the oldest and the newest task."""
        sql = (
            "SELECT group_name, count(*), min(rank), max(rank) FROM tasks"
            f" WHERE queue = ? AND group_name > ? AND {_WAITING} GROUP BY group_name ORDER BY 1 LIMIT ?"
        )
        return self.fetch(sql, queue, name, limit)

    def group_span(self, queue: str, group: str) -> tuple[int, int, int]:
        """Return the size of a group, and the instants of its oldest and its newest task."""
        sql = (
            "SELECT count(*), coalesce(min(rank), 0), coalesce(max(rank), 0) FROM tasks"
            f" WHERE queue = ? AND group_name = ? AND {_WAITING}"
        )
        size, oldest, newest = self.fetch(sql, queue, group)[0]
        return size, oldest, newest

    def oldest_of_group(self, queue: str, group: str, limit: int) -> list[FullRow]:
        """Return the oldest waiting tasks of a group."""
        sql = f"{SELECT_ROW} WHERE queue = ? AND group_name = ? AND {_WAITING} ORDER BY rank, seq LIMIT ?"
        return [row_of(found) for found in self.fetch(sql, queue, group, limit)]

    def put_in_set(self, task: TaskRow, set_id: str) -> None:
        """Move the task from its group into a set. It keeps its rank."""
        self.connection.execute("UPDATE tasks SET set_id = ? WHERE seq = ?", (set_id, task.seq))

    def hold_set(self, queue: str, group: str, set_id: str, held_until: int) -> None:
        """Hold the set until that instant."""
        values = (queue, group, set_id, held_until)
        self.connection.execute("INSERT OR REPLACE INTO aggregations VALUES (?, ?, ?, ?)", values)

    def held_until(self, queue: str, group: str, set_id: str) -> int | None:
        """Return when the hold on a set expires; None for a set that is not held."""
        sql = "SELECT held_until FROM aggregations WHERE queue = ? AND group_name = ? AND set_id = ?"
        found = self.fetch(sql, queue, group, set_id)
        return int(found[0][0]) if found else None

    def rows_of_set(self, queue: str, group: str, set_id: str) -> list[FullRow]:
        """Return the rows of the tasks in a set, oldest first."""
        found = self.fetch(f"{SELECT_ROW} WHERE {_IN_SET} ORDER BY rank, seq", queue, group, set_id)
        return [row_of(columns) for columns in found]

    def tasks_of_set(self, taken: AggregationSet) -> list[TaskRow]:
        """Return the tasks in a set."""
        found = self.fetch(f"{SELECT_TASK} WHERE {_IN_SET}", taken.queue, taken.group, taken.id)
        return [TaskRow._make(columns) for columns in found]

    def empty_set(self, queue: str, group: str, set_id: str) -> None:
        """Return all tasks of a set to their group."""
        self.connection.execute(f"UPDATE tasks SET set_id = NULL WHERE {_IN_SET}", (queue, group, set_id))

    def forget_set(self, queue: str, group: str, set_id: str) -> None:
        """Delete the record of a set."""
        self.connection.execute(
            "DELETE FROM aggregations WHERE queue = ? AND group_name = ? AND set_id = ?",
            (queue, group, set_id),
        )

    def forget_empty_sets(self, queue: str) -> None:
        """Delete the records of sets without tasks."""
        self.connection.execute(
            "DELETE FROM aggregations WHERE queue = ? AND NOT EXISTS (SELECT 1 FROM tasks"
            " WHERE tasks.queue = aggregations.queue AND tasks.group_name = aggregations.group_name"
            " AND tasks.set_id = aggregations.set_id AND tasks.state = 'aggregating')",
            (queue,),
        )

    def overdue_sets(self, queue: str, now: int, limit: int) -> list[tuple[str, str, str]]:
        """Return queue, group and id of sets whose hold has expired, in the order of expiry."""
        sql = (
            "SELECT queue, group_name, set_id FROM aggregations WHERE queue = ? AND held_until <= ?"
            " ORDER BY held_until LIMIT ?"
        )
        return self.fetch(sql, queue, now, limit)
