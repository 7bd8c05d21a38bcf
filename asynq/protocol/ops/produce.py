"""Operation for producing: enqueue a task, with its due time, uniqueness lock and id conflict rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.checks import check_one_of
from asynq.protocol.followers import is_joining
from asynq.protocol.ops.base import Op
from asynq.protocol.sequences import MEMBERS_HEADER, SEQUENCE_HEADER

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq.task_state import TaskState

_check_until = check_one_of("done", "expiry", "start")
_check_on_duplicate = check_one_of("reject", "replace")
_check_on_conflict = check_one_of("reject", "replace_finished")


class Unique(Struct, frozen=True, kw_only=True):
    """The uniqueness lock that an Enqueue takes. Its name is the message's `unique_key`."""

    ttl: int
    """Duration of the lock, at least one second; counted from the due time for a scheduled task."""
    until: Literal["done", "expiry", "start"] = "done"
    """done: released when the task is done, completed or deleted (as in Go asynq), or when the ttl ends.
    expiry: released only when the ttl ends. start: released also when a worker takes the task."""
    keep: bool = False
    """Renew the lock, while the task is live, whenever it would end before the task's next step.

    An archived or completed task is not live. If the renewal comes too late, another task may hold the
    lock; the lock does not return to the first task while the other one holds it.
    """

    on_duplicate: Literal["reject", "replace"] = "reject"
    """What happens if another task holds the lock.

    reject: DuplicateTaskError. replace: this task takes the lock in the same step, and a holder that is
    scheduled or pending is deleted. A holder in another state, or in a sequence, remains without the lock.
    A lock that only expires is not replaced: DuplicateTaskError.
    """

    def __post_init__(self) -> None:
        _check_until("until", self.until)
        if self.on_duplicate != "reject":
            _check_on_duplicate("on_duplicate", self.on_duplicate)

    def replaces(self, until: str) -> bool:
        """Whether this lock is taken from a holder whose lock has this `until`."""
        return self.on_duplicate == "replace" and until != "expiry"


class Enqueued(Struct, frozen=True, kw_only=True, gc=False):
    """Answer of Enqueue: the state of the task."""

    state: TaskState
    """pending, scheduled or aggregating."""
    due_at: int
    """Instant from which the task may run: now, or the due time, rounded up. WAITING for a task that waits in
    its sequence."""


class Enqueue(Op[Enqueued], frozen=True, kw_only=True):
    """Add a task to its queue: pending, scheduled when its time is in the future, aggregating in its group.

    TaskIDConflictError when the queue has a task of this id, in whatever state. DuplicateTaskError when
    another task holds the lock and `unique` does not replace it. An error changes nothing: no lock is taken
    when the id conflicts. Only the queue may be listed although no task was ever added to it. A copy that
    finds the task which its own `enqueue_id` created repeats the success, and may answer the task's current
    state. From then on ListQueues lists the queue. A task that is due goes to the tail of its queue.

    Sequences: tasks of a queue whose messages have the same `sequence` run one at a time, in the order of
    their enqueue. The task joins the tail of its sequence. The first task of a sequence is the head; all
    others wait: they are scheduled for WAITING, which only their turn ends. When a task is done, completed,
    archived or deleted, it leaves its sequence in the same step, and the next one becomes pending, at the
    tail of the queue. A head that is retried, requeued or recovered keeps its place.

    Joins: a task whose message names members waits for them, scheduled for WAITING, until the last one
    arrives (see Arrive) or it is run by hand.
    """

    message: TaskMessage
    enqueue_id: str
    """Random, one per call: a copy that is sent again recognises its own task by it."""
    process_at: int | None = None
    """Instant from which the task may run; None to run it at once."""
    process_in: int | None = None
    """The same as a duration from now, by the broker's clock. At most one of the two may be given."""
    unique: Unique | None = None
    on_conflict: Literal["reject", "replace_finished"] = "reject"
    """replace_finished: an archived or completed task of this id is replaced in the same step."""

    def __post_init__(self) -> None:
        if self.on_conflict != "reject":
            _check_on_conflict("on_conflict", self.on_conflict)
        headers = self.message.headers
        if headers and (SEQUENCE_HEADER in headers or MEMBERS_HEADER in headers):
            self._check_waiting()

    def _check_waiting(self) -> None:
        """ValueError for an option that has no meaning for a task whose turn is not known."""
        joins = is_joining(self.message)
        refused = {
            "sequence": joins and self.message.sequence != "",
            "group": self.message.group != "",
            "process_at": self.process_at is not None,
            "process_in": self.process_in is not None,
            "keep_unique": self.unique is not None and self.unique.keep,
        }
        for name, given in refused.items():
            if given:
                what = "a task that follows several" if joins else "a task in a sequence"
                raise ValueError(f"{what} cannot have {name}")
