"""The small steps that operations consist of. Each runs in the open transaction and keeps one promise.

Handlers read and write through a TaskStore only. A TaskStore with one step overridden is a broker with
exactly that defect: this is how the conformance suite is tested.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asynq.brokerkit.transitions import whole_second
from asynq.task_state import TaskState
from asynq_sqlite.store.followers import FollowerSteps
from asynq_sqlite.store.groups import GroupSteps
from asynq_sqlite.store.limits import LimitSteps
from asynq_sqlite.store.manage import ManageSteps
from asynq_sqlite.store.presence import PresenceSteps
from asynq_sqlite.store.queues import QueueSteps
from asynq_sqlite.store.rows import (
    MESSAGE_COLUMNS,
    SELECT_ORIGIN,
    SELECT_ROW,
    SELECT_TASK,
    TASK_COLUMNS,
    FullRow,
    Origin,
    TaskRow,
    encode,
    replacement,
    row_of,
)
from asynq_sqlite.store.sequences import SequenceSteps
from asynq_sqlite.store.transfer import TransferSteps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Enqueue, Unique

_MAX_RANK: Final = 2**63 - 1
_INSERT_COLUMNS: Final = (
    *MESSAGE_COLUMNS, "state", "rank", "pending_since", "created_at", "scheduled_for", "enqueue_id",
    "lease_losses", "cancel",
)  # fmt: skip
_INSERT: Final = (
    f"INSERT INTO tasks ({', '.join(_INSERT_COLUMNS)}) VALUES ({', '.join('?' * len(_INSERT_COLUMNS))})"
    " ON CONFLICT (queue, id) DO NOTHING"
)
_FIND: Final = f"{SELECT_TASK} WHERE queue = ? AND id = ?"
_FOUND_TOGETHER: Final = 50
"""Number of tasks that one query finds."""
_FIND_MANY: Final = (
    f"WITH wanted(queue, id) AS (VALUES {', '.join(['(?, ?)'] * _FOUND_TOGETHER)})"
    f" SELECT {', '.join(f'tasks.{name}' for name in TASK_COLUMNS)} FROM wanted CROSS JOIN tasks"
    " ON tasks.queue = wanted.queue AND tasks.id = wanted.id"
)
_NO_TASK: Final = (None, None)
# No parameter: SQLite prepares a statement again whenever a value changes that it compared with a condition
# of a partial index, and that takes longer than the query.
_IN_STATE: Final = {state: f"state = '{state.value}'" for state in TaskState}
_FIRST: Final = {
    state: f"WHERE queue = ? AND {condition} AND rank <= ? ORDER BY rank, seq LIMIT ?"
    for state, condition in _IN_STATE.items()
}
_SIZES: Final = " UNION ALL ".join(
    f"SELECT '{state.value}', count(*) FROM tasks WHERE queue = ? AND {condition}"
    for state, condition in _IN_STATE.items()
)
"""Counting state by state takes half the time of one count that groups by the state."""
_LAST_RANK: Final = "SELECT max(rank) FROM tasks WHERE queue = ? AND state = 'pending'"
_FIRST_RANK: Final = "SELECT min(rank) FROM tasks WHERE queue = ? AND state = 'pending'"
_THESE: Final = "seq IN (SELECT value FROM json_each(?))"
_OWNER_LIVES: Final = (
    "SELECT 1 FROM tasks WHERE tasks.queue = locks.queue AND tasks.id = locks.task_id"
    " AND tasks.unique_key = locks.name AND tasks.state NOT IN ('archived', 'completed')"
)


class Place(NamedTuple):
    """A state, and the position of a task in it."""

    state: TaskState
    rank: int
    pending_since: int = 0


class HeldLock(NamedTuple):
    """A uniqueness lock that is held."""

    queue: str
    task_id: str
    until: str


class TaskStore(
    FollowerSteps,
    GroupSteps,
    LimitSteps,
    ManageSteps,
    PresenceSteps,
    QueueSteps,
    SequenceSteps,
    TransferSteps,
):
    """The steps of all operations. Every method runs inside the open transaction.

    A step for several tasks writes all of them with one statement.
    """

    # --- tasks -----------------------------------------------------------------------------------------

    def find(self, queue: str, task_id: str) -> TaskRow | None:
        """Return the task with this id, without its message; None if there is none."""
        found = self.fetch(_FIND, queue, task_id)
        return TaskRow._make(found[0]) if found else None

    def origin(self, task: TaskRow) -> Origin:
        """Return how the task was enqueued."""
        return Origin._make(self.fetch(f"{SELECT_ORIGIN} WHERE seq = ?", task.seq)[0])

    def find_all(self, keys: Sequence[tuple[str, str]]) -> list[TaskRow]:
        """Return those tasks, of these queues and ids, that exist, in any order."""
        if len(keys) == 1:
            return [task] if (task := self.find(*keys[0])) is not None else []
        tasks: list[TaskRow] = []
        for start in range(0, len(keys), _FOUND_TOGETHER):
            part = keys[start : start + _FOUND_TOGETHER]
            values = chain.from_iterable((*part, *[_NO_TASK] * (_FOUND_TOGETHER - len(part))))
            tasks += map(TaskRow._make, self.fetch(_FIND_MANY, *values))
        return tasks

    def read(self, queue: str, task_id: str) -> FullRow | None:
        """Return the row of the task with this id; None if there is none."""
        found = self.fetch(f"{SELECT_ROW} WHERE queue = ? AND id = ?", queue, task_id)
        return row_of(found[0]) if found else None

    def first(self, queue: str, state: TaskState, limit: int, upto: int = _MAX_RANK) -> list[FullRow]:
        """Return the first rows of a state, in its order, with a rank of at most `upto`."""
        sql = f"{SELECT_ROW} {_FIRST[state]}"
        return [row_of(found) for found in self.fetch(sql, queue, upto, limit)]

    def first_tasks(self, queue: str, state: TaskState, limit: int, upto: int = _MAX_RANK) -> list[TaskRow]:
        """Return what `first` returns, without the messages."""
        sql = f"{SELECT_TASK} {_FIRST[state]}"
        return [TaskRow._make(found) for found in self.fetch(sql, queue, upto, limit)]

    def insert(self, op: Enqueue, place: Place, scheduled_for: int, now: int) -> bool:
        """Store the task of an Enqueue at that place. Returns False if its queue has a task of its id."""
        values = (*encode(op.message), *place, now, scheduled_for, op.enqueue_id, 0, "")
        return self.connection.execute(_INSERT, values).rowcount > 0

    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        """Move the task, and change other columns in the same statement.

        The lease ends unless `lease_token` is given. The task leaves its aggregation set.
        """
        values = {"lease_token": None, "set_id": None, **columns}
        self.connection.execute(_move_statement(tuple(values)), (*place, *values.values(), task.seq))

    def write_result(self, task: TaskRow, result: bytes) -> None:
        """Store the result with the task."""
        self.connection.execute("UPDATE tasks SET result = ? WHERE seq = ?", (result, task.seq))

    def delete(self, tasks: Sequence[TaskRow]) -> None:
        """Delete tasks and release their locks."""
        for task in tasks:
            self.release_lock(task)
        if tasks:
            self.connection.execute(f"DELETE FROM tasks WHERE {_THESE}", (_seqs(tasks),))

    def set_aside(self, row: FullRow, reason: str, now: int) -> str:
        """Archive a row that cannot be decoded. Its payload keeps all columns. Returns the id it has now."""
        task = row.task
        message = replacement(row, reason)
        columns = dict(zip(MESSAGE_COLUMNS, encode(message), strict=True))
        columns.update(last_failed_at=now // 1000, result=None)
        self.move(task, self.archived_place(now), **columns)
        return message.id

    # --- places ----------------------------------------------------------------------------------------

    def tail(self, queue: str, now: int) -> Place:
        """Return the place behind all pending tasks of the queue."""
        # In a batch, each task follows the one before: only the first has to ask.
        if (last := self.tails.get(queue)) is None:
            last = self._last(queue)
        self.tails[queue] = last + 1
        return Place(TaskState.PENDING, last + 1, now)

    def head(self, queue: str, now: int) -> Place:
        """Return the place before all pending tasks of the queue."""
        (first,) = self.connection.execute(_FIRST_RANK, (queue,)).fetchone()
        return Place(TaskState.PENDING, min(first or 0, 0) - 1, now)

    def due_place(self, state: TaskState, instant: int) -> Place:
        """Return the place in a state for a task that waits until this instant, rounded up to a second."""
        return Place(state, whole_second(instant))

    def archived_place(self, now: int) -> Place:
        """Return the place of a task that is archived now."""
        return Place(TaskState.ARCHIVED, whole_second(now))

    def grouped_place(self, now: int) -> Place:
        """Return the place of a task that is added to its group now."""
        return Place(TaskState.AGGREGATING, whole_second(now))

    def _last(self, queue: str) -> int:
        """Return the rank of the last pending task of the queue, and at least 0."""
        rank: int | None = self.connection.execute(_LAST_RANK, (queue,)).fetchone()[0]
        if rank is None:
            return 0
        self.listed.add(queue)  # as every queue that has tasks
        return max(rank, 0)

    # --- leases ----------------------------------------------------------------------------------------

    def pending_count(self, queue: str, limit: int) -> int:
        """Return the number of pending tasks of the queue, at most `limit`."""
        sql = "SELECT count(*) FROM (SELECT 1 FROM tasks WHERE queue = ? AND state = 'pending' LIMIT ?)"
        return int(self.fetch(sql, queue, limit)[0][0])

    def pop_pending(self, queue: str, limit: int) -> list[FullRow]:
        """Return the pending tasks at the head of the queue, at most `limit`."""
        return self.first(queue, TaskState.PENDING, limit)

    def active_count(self, queue: str) -> int:
        """Return the number of active tasks of the queue, for all servers."""
        sql = "SELECT count(*) FROM tasks WHERE queue = ? AND state = 'active'"
        return int(self.fetch(sql, queue)[0][0])

    def put_leases(self, tasks: Sequence[TaskRow], token: str, expires_at: int) -> None:
        """Make tasks active under this token."""
        self.connection.execute(
            "UPDATE tasks SET state = 'active', rank = ?, pending_since = 0, lease_token = ?, set_id = NULL"
            f" WHERE {_THESE}",
            (expires_at, token, _seqs(tasks)),
        )

    def extend_lease(self, task: TaskRow, expires_at: int) -> int:
        """Extend the lease to at least that instant. Returns when it expires now."""
        until = max(task.rank, expires_at)
        self.connection.execute("UPDATE tasks SET rank = ? WHERE seq = ?", (until, task.seq))
        return until

    def check_token(self, task: TaskRow, token: str) -> bool:
        """Return whether this token holds the lease of the task."""
        return task.state == TaskState.ACTIVE and task.lease_token == token

    def held_by(self, token: str) -> list[FullRow]:
        """Return the tasks that this token holds, in the order of their creation."""
        sql = f"{SELECT_ROW} WHERE lease_token = ? AND state = 'active' ORDER BY seq"
        return [row_of(found) for found in self.fetch(sql, token)]

    # --- uniqueness ------------------------------------------------------------------------------------

    def lock_holder(self, name: str, now: int) -> HeldLock | None:
        """Return the holder of the lock; None if it is free.

        A lock with `keep` is held while its task has not ended, even beyond its time to live.
        """
        found = self.fetch(
            "SELECT queue, task_id, until FROM locks"
            f" WHERE name = ? AND (expires_at > ? OR (keep AND EXISTS ({_OWNER_LIVES})))",
            name,
            now,
        )
        return HeldLock._make(found[0]) if found else None

    def displaced(self, holder: HeldLock | None) -> TaskRow | None:
        """Return the holder of a lock if it waits, and so gives way to a new task that takes the lock."""
        task = None if holder is None else self.find(holder.queue, holder.task_id)
        if task is None or task.sequence or task.state not in (TaskState.SCHEDULED, TaskState.PENDING):
            return None
        return task

    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        """Give the lock to the task."""
        values = (message.unique_key, message.queue, message.id, expires_at, unique.until, int(unique.keep))
        self.connection.execute("INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?, ?, ?)", values)

    def release_lock(self, task: TaskRow, until: tuple[str, ...] = ("done", "start")) -> None:
        """Release the lock if this task holds it and it is one of these kinds."""
        if task.unique_key:
            self.connection.execute(
                "DELETE FROM locks WHERE name = ? AND queue = ? AND task_id = ?"
                f" AND until IN ({', '.join('?' * len(until))})",
                (task.unique_key, task.queue, task.id, *until),
            )

    def drop_expired_locks(self, queue: str, now: int, limit: int) -> None:
        """Delete expired locks that are not kept."""
        self.connection.execute(
            "DELETE FROM locks WHERE name IN (SELECT name FROM locks WHERE queue = ? AND expires_at <= ?"
            f" AND NOT (keep AND EXISTS ({_OWNER_LIVES})) LIMIT ?)",
            (queue, now, limit),
        )

    # --- upkeep ----------------------------------------------------------------------------------------

    def due(self, queue: str, now: int, limit: int) -> Iterable[TaskRow]:
        """Return scheduled and retried tasks that are due, in the order of their due times."""
        tasks = [
            task
            for state in (TaskState.SCHEDULED, TaskState.RETRY)
            for task in self.first_tasks(queue, state, limit, upto=now)
        ]
        return sorted(tasks, key=lambda task: (task.rank, task.seq))[:limit]

    def next_due(self, queue: str) -> int | None:
        """Return when the next scheduled or retried task is due; None if there is none."""
        firsts = [self.first_tasks(queue, state, 1) for state in (TaskState.SCHEDULED, TaskState.RETRY)]
        return min((task.rank for tasks in firsts for task in tasks), default=None)

    def lost(self, queue: str, now: int, limit: int) -> list[FullRow]:
        """Return active tasks whose lease has expired, in the order of expiry."""
        return [row for row in self.first(queue, TaskState.ACTIVE, limit, upto=now) if row.task.lease_token]

    def trim_archive(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        """Delete archived tasks that are too many or too old, oldest first. Returns their number."""
        (size,) = self.connection.execute(
            "SELECT count(*) FROM tasks WHERE queue = ? AND state = 'archived'", (queue,)
        ).fetchone()
        surplus = min(max(size - max_size, 0), limit)
        oldest = self.first_tasks(queue, TaskState.ARCHIVED, limit)
        doomed = [task for place, task in enumerate(oldest) if place < surplus or task.rank + max_age <= now]
        self.delete(doomed)
        return len(doomed)

    def active_after(self, queue: str, seq: int, limit: int) -> list[TaskRow]:
        """Return active tasks created after the one with this `seq`, in the order of their creation."""
        sql = f"{SELECT_TASK} WHERE queue = ? AND state = 'active' AND seq > ? ORDER BY seq LIMIT ?"
        return [TaskRow._make(found) for found in self.fetch(sql, queue, seq, limit)]

    # --- inspection ------------------------------------------------------------------------------------

    def page(self, queue: str, state: TaskState, group: str, offset: int, limit: int) -> list[FullRow]:
        """Return a page of the rows in a state, and in a group if one is named, in the order of the state."""
        chosen, values = f"queue = ? AND {_IN_STATE[state]}", [queue]
        if group:
            chosen, values = f"{chosen} AND group_name = ? AND set_id IS NULL", [queue, group]
        if offset:
            # The index alone finds the place: a query for whole rows would touch those that it skips.
            place = f"SELECT rank, seq FROM tasks WHERE {chosen} ORDER BY rank, seq LIMIT 1 OFFSET ?"
            if not (found := self.fetch(place, *values, offset)):
                return []
            chosen, values = f"{chosen} AND (rank, seq) >= (?, ?)", [*values, *found[0]]
        rows = self.fetch(f"{SELECT_ROW} WHERE {chosen} ORDER BY rank, seq LIMIT ?", *values, limit)
        return [row_of(columns) for columns in rows]

    def sizes(self, queue: str) -> dict[str, int]:
        """Return the number of tasks in each state."""
        return dict(self.fetch(_SIZES, *[queue] * len(_IN_STATE)))

    def oldest_pending(self, queue: str) -> int | None:
        """Return since when the oldest pending task has been waiting; None without pending tasks."""
        # Tasks put at the head have negative ranks, others positive ones: the oldest are next to zero.
        since = "SELECT pending_since FROM tasks WHERE queue = ? AND state = 'pending' AND"
        last_head = self.fetch(f"{since} rank < 0 ORDER BY rank DESC LIMIT 1", queue)
        first_tail = self.fetch(f"{since} rank > 0 ORDER BY rank LIMIT 1", queue)
        return min((instant for (instant,) in last_head + first_tail), default=None)


@cache
def _move_statement(columns: tuple[str, ...]) -> str:
    """Return the statement that moves a task and sets these columns. One text for each set of columns."""
    assignments = ", ".join(f"{name} = ?" for name in ("state", "rank", "pending_since", *columns))
    return f"UPDATE tasks SET {assignments} WHERE seq = ?"


def _seqs(tasks: Iterable[TaskRow]) -> str:
    """Return the value for the parameter of _THESE."""
    return json.dumps([task.seq for task in tasks])
