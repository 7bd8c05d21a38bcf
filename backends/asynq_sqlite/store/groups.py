"""The steps of aggregation: groups, and the sets taken from them. See `asynq_sqlite.store.task_store`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq_sqlite.store.connection import StoreConnection
from asynq_sqlite.store.rows import SELECT_ROW, SELECT_TASK, FullRow, TaskRow, row_of

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet

_WAITING: Final = "state = 'aggregating' AND set_id IS NULL"
_IN_SET: Final = "state = 'aggregating' AND queue = ? AND group_name = ? AND set_id = ?"


class GroupSteps(StoreConnection):
    """A task of a group has no set, or it is in the one set that holds it."""

    def group_count(self, queue: str) -> int:
        """How many groups have tasks that wait."""
        sql = f"SELECT count(DISTINCT group_name) FROM tasks WHERE queue = ? AND {_WAITING}"
        return int(self.fetch(sql, queue)[0][0])

    def groups_after(self, queue: str, name: str, limit: int) -> list[tuple[str, int, int, int]]:
        """Groups with names behind this one: name, size, instants of the oldest and the newest task."""
        sql = (
            "SELECT group_name, count(*), min(rank), max(rank) FROM tasks"
            f" WHERE queue = ? AND group_name > ? AND {_WAITING} GROUP BY group_name ORDER BY 1 LIMIT ?"
        )
        return self.fetch(sql, queue, name, limit)

    def group_span(self, queue: str, group: str) -> tuple[int, int, int]:
        """Size of a group, instants of its oldest and its newest task."""
        sql = (
            "SELECT count(*), coalesce(min(rank), 0), coalesce(max(rank), 0) FROM tasks"
            f" WHERE queue = ? AND group_name = ? AND {_WAITING}"
        )
        size, oldest, newest = self.fetch(sql, queue, group)[0]
        return size, oldest, newest

    def oldest_of_group(self, queue: str, group: str, limit: int) -> list[FullRow]:
        """The tasks that wait longest in a group."""
        sql = f"{SELECT_ROW} WHERE queue = ? AND group_name = ? AND {_WAITING} ORDER BY rank, seq LIMIT ?"
        return [row_of(found) for found in self.fetch(sql, queue, group, limit)]

    def put_in_set(self, task: TaskRow, set_id: str) -> None:
        """Take the task out of its group, into a set; its place there is kept."""
        self.connection.execute("UPDATE tasks SET set_id = ? WHERE seq = ?", (set_id, task.seq))

    def hold_set(self, queue: str, group: str, set_id: str, held_until: int) -> None:
        """Let nobody reclaim the set before that instant."""
        values = (queue, group, set_id, held_until)
        self.connection.execute("INSERT OR REPLACE INTO aggregations VALUES (?, ?, ?, ?)", values)

    def held_until(self, queue: str, group: str, set_id: str) -> int | None:
        """When the hold of a set ends; None for one that is held no longer."""
        sql = "SELECT held_until FROM aggregations WHERE queue = ? AND group_name = ? AND set_id = ?"
        found = self.fetch(sql, queue, group, set_id)
        return int(found[0][0]) if found else None

    def rows_of_set(self, queue: str, group: str, set_id: str) -> list[FullRow]:
        """The rows of the tasks in a set, oldest first."""
        found = self.fetch(f"{SELECT_ROW} WHERE {_IN_SET} ORDER BY rank, seq", queue, group, set_id)
        return [row_of(columns) for columns in found]

    def tasks_of_set(self, taken: AggregationSet) -> list[TaskRow]:
        """The tasks in a set."""
        found = self.fetch(f"{SELECT_TASK} WHERE {_IN_SET}", taken.queue, taken.group, taken.id)
        return [TaskRow._make(columns) for columns in found]

    def empty_set(self, queue: str, group: str, set_id: str) -> None:
        """Let all tasks of a set wait in their group again."""
        self.connection.execute(f"UPDATE tasks SET set_id = NULL WHERE {_IN_SET}", (queue, group, set_id))

    def forget_set(self, queue: str, group: str, set_id: str) -> None:
        """Hold the set no longer."""
        self.connection.execute(
            "DELETE FROM aggregations WHERE queue = ? AND group_name = ? AND set_id = ?",
            (queue, group, set_id),
        )

    def forget_empty_sets(self, queue: str) -> None:
        """Hold no set whose tasks are all gone."""
        self.connection.execute(
            "DELETE FROM aggregations WHERE queue = ? AND NOT EXISTS (SELECT 1 FROM tasks"
            " WHERE tasks.queue = aggregations.queue AND tasks.group_name = aggregations.group_name"
            " AND tasks.set_id = aggregations.set_id AND tasks.state = 'aggregating')",
            (queue,),
        )

    def overdue_sets(self, queue: str, now: int, limit: int) -> list[tuple[str, str, str]]:
        """Queue, group and id of sets whose hold has ended, longest ended first."""
        sql = (
            "SELECT queue, group_name, set_id FROM aggregations WHERE queue = ? AND held_until <= ?"
            " ORDER BY held_until LIMIT ?"
        )
        return self.fetch(sql, queue, now, limit)
