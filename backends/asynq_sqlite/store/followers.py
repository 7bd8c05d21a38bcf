"""Steps for parents: completed tasks whose followers are not enqueued yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.brokerkit.transitions import whole_second
from asynq.protocol.followers import HELD, LONGEST_RETENTION
from asynq_sqlite.store.connection import StoreConnection
from asynq_sqlite.store.rows import SELECT_ROW, FullRow, encode_headers, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_sqlite.store.rows import TaskRow

_PARENTS: Final = (
    f"{SELECT_ROW} WHERE queue = ? AND state = 'completed' AND rank > ? AND rank <= ?"
    " ORDER BY rank, seq LIMIT ?"
)


class FollowerSteps(StoreConnection):
    """Steps for parents."""

    def parents(self, queue: str, now: int, limit: int) -> list[FullRow]:
        """Return the parents of the queue that nobody holds, those that ended first first."""
        found = self.fetch(_PARENTS, queue, kept_beyond(now), now + HELD * 1000, limit)
        return [row_of(columns) for columns in found]

    def hold_parent(self, task: TaskRow, until: int) -> int:
        """Hold the parent until that instant, rounded up. Returns the rank that shows it."""
        rank = whole_second(until) + HELD * 1000
        self.connection.execute("UPDATE tasks SET rank = ? WHERE seq = ?", (rank, task.seq))
        return rank

    def write_headers(self, task: TaskRow, headers: Mapping[str, str]) -> None:
        """Give the task these headers."""
        values = (encode_headers(headers), task.seq)
        self.connection.execute("UPDATE tasks SET headers = ? WHERE seq = ?", values)


def kept_beyond(now: int) -> int:
    """Return the rank above which a completed task is a parent whose followers are not enqueued yet."""
    return whole_second(now) + LONGEST_RETENTION * 1000
