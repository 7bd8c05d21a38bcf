"""AdvanceSequences, and what other operations do with the sequence of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from asynq.protocol.ops import Advanced
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.ops import AdvanceSequences
    from asynq_sqlite.store.rows import TaskRow
    from asynq_sqlite.store.task_store import TaskStore

_FINISHED: Final = (TaskState.ARCHIVED, TaskState.COMPLETED)


def waits(task: TaskRow) -> bool:
    """Return whether the task waits for its turn in its sequence."""
    return task.state == TaskState.SCHEDULED and task.rank == WAITING and task.sequence != ""


def join(store: TaskStore, queue: str, name: str, task_id: str, now: int) -> None:
    """Put a waiting task at the tail of its sequence. It becomes pending if it is its turn."""
    store.join_sequence(queue, name, task_id)
    advance(store, queue, name, now)


def leave(store: TaskStore, task: TaskRow, now: int) -> None:
    """Remove a finished or deleted task from its sequence, if it has one, and let the next one run."""
    if name := task.sequence:
        store.leave_sequence(task.queue, task.id)
        advance(store, task.queue, name, now)


def advance(store: TaskStore, queue: str, name: str, now: int) -> bool:
    """Make the first task of the sequence pending if it waits. Tasks that are no longer in it are removed."""
    while (task_id := store.first_of_sequence(queue, name)) is not None:
        task = store.find(queue, task_id)
        if task is not None and task.sequence == name and task.state not in _FINISHED:
            if waits(task):
                store.move(task, store.tail(queue, now))
            return waits(task)
        store.leave_sequence(queue, task_id)
    return False


def advance_sequences(store: TaskStore, op: AdvanceSequences, now: int) -> Advanced:
    """Let the next task run in each sequence without a head."""
    names = store.sequences_after(op.queue, op.cursor, op.limit)
    promoted = sum(advance(store, op.queue, name, now) for name in names)
    cursor = names[-1] if len(names) == op.limit else ""
    return Advanced(promoted=promoted, examined=len(names), cursor=cursor)
