"""Produce: making tasks known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import field, frozen
from attrs.validators import in_

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq.task_state import TaskState


@frozen(kw_only=True)
class Unique:
    """The uniqueness lock an Enqueue asks for. Its name is the message's `unique_key`."""

    ttl: int
    """Duration the lock lasts, at least one second; counted from the due time for a scheduled task."""
    until: Literal["done", "expiry", "start"] = field(
        default="done", validator=in_(("done", "expiry", "start"))
    )
    """done: released when the task is done, completed or deleted (as Go asynq does), or when the ttl ends.
    expiry: released by nothing but the ttl. start: released also when a worker takes the task."""
    keep: bool = False
    """Renew the lock, while the task lives, whenever it would end before the task's next step.

    A task in the archive lives no longer, nor does a completed one. Once renewed too late the lock may be
    another's; it never comes back to the task while that one holds it.
    """


@frozen(kw_only=True)
class Enqueued:
    """Answer of Enqueue: where the task went."""

    state: TaskState
    """pending, scheduled or aggregating."""
    due_at: int
    """Instant from which the task may run: now, or the rounded-up due time."""


@frozen(kw_only=True)
class Enqueue(Op[Enqueued]):
    """Make a task known: pending, or scheduled when its time is in the future, or aggregating in its group.

    TaskIDConflictError when the queue knows the id, whatever the state of the task that has it;
    DuplicateTaskError when another task holds the lock. An error changes nothing: no lock is taken when the
    id conflicts, though a queue that no task ever came to may be listed. A copy that finds the task its own
    `enqueue_id` made is that success again, and may tell where the task is by now. The queue is listed by
    ListQueues from then on. A due task goes to the tail of its queue.
    """

    message: TaskMessage
    enqueue_id: str
    """Random, one per call: by it a re-sent copy knows its own."""
    process_at: int | None = None
    """Instant from which the task may run; None for at once."""
    process_in: int | None = None
    """The same as a duration from now, by the broker's clock. At most one of the two."""
    unique: Unique | None = None
    on_conflict: Literal["reject", "replace_finished"] = field(
        default="reject", validator=in_(("reject", "replace_finished"))
    )
    """replace_finished: an archived or completed task of this id makes room, in the same step."""
