"""Operations to manage tasks and queues: run, archive, delete, update, cancel; delete queues.

They are safe while workers run. A task held by an aggregator is not in its group, but its state is still
aggregating. No operation of this module moves it, except that DeleteQueue deletes it with its queue.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec import Struct

from asynq.checks import check_one_of
from asynq.protocol.ops.base import MAX_ARCHIVED, MAX_ARCHIVED_AGE, MAX_BATCH, Op
from asynq.task_state import TaskState

CancelAction = Literal["archive", "retry"]
MoveTarget = Literal["pending", "archived", "deleted"]

_UPDATABLE = frozenset(TaskState) - {TaskState.ACTIVE, TaskState.COMPLETED}
_TIMED = frozenset({TaskState.SCHEDULED, TaskState.RETRY})
_check_action = check_one_of("archive", "retry")
_check_target = check_one_of("pending", "archived", "deleted")


class RunTask(Op[None], frozen=True, kw_only=True):
    """Make a scheduled, retried, archived, completed or aggregating task pending, at the tail of its queue.

    The task then runs on its own, in no group, also when it is retried, although its message may still name
    the group. A cancellation recorded for it is removed. A finished task of a sequence joins the tail of its
    sequence, as in Enqueue. TaskNotFoundError; TaskStateError when the task is active, pending, held by an
    aggregator, or waits in its sequence.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str


class ArchiveTask(Op[None], frozen=True, kw_only=True):
    """Archive a pending, scheduled, retried, completed or aggregating task. No counter changes.

    The archive keeps its bounds as in Archive. TaskNotFoundError; TaskStateError when the task is active,
    archived or held by an aggregator.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str
    max_size: int = MAX_ARCHIVED
    max_age: int = MAX_ARCHIVED_AGE


class DeleteTask(Op[None], frozen=True, kw_only=True):
    """Delete a task with its result and the lock it owns.

    TaskNotFoundError; TaskStateError when the task is active or held by an aggregator. Also deletes a task
    that cannot be decoded, and what remains of a task that has no message.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str


class UpdateTask(Op[None], frozen=True, kw_only=True):
    """Change the payload of a waiting or archived task, the due time of a scheduled or retried one, or both.

    A new payload renames the lock that the task owns: DuplicateTaskError when another task holds the lock of
    that name. A new due time in the past is the present; the task is then forwarded as one that has just
    become due. The lock that a scheduled task owns moves with the due time, from which it is counted; the
    lock of a retried task is renewed if it is kept, and does not change otherwise.

    TaskNotFoundError, also for a task that cannot be decoded. TaskStateError when the task is active,
    completed or held by an aggregator, or, if it is to get a due time, neither scheduled nor retried, or
    waiting in its sequence or for others. Any of these errors means that nothing was changed.
    """

    queue: str
    task_id: str
    payload: bytes | None = None
    """None keeps the payload."""
    process_at: int | None = None
    """Instant at which the task becomes due, rounded up to a whole second."""
    process_in: int | None = None
    """The same as a duration from now, by the broker's clock. At most one of the two may be given."""

    @property
    def timed(self) -> bool:
        """Whether the task is to get a due time."""
        return self.process_at is not None or self.process_in is not None

    @property
    def states(self) -> frozenset[TaskState]:
        """The states in which the task can be updated so."""
        return _TIMED if self.timed else _UPDATABLE


class MoveTasks(Op[int], frozen=True, kw_only=True):
    """Run, archive or delete tasks of one state, oldest first, at most `limit`. Answers the number moved.

    Each task is moved as by RunTask, ArchiveTask or DeleteTask. Ids whose task is gone are dropped and not
    counted. An answer of 0 means that none is left. QueueNotFoundError. A copy that is sent again moves other
    tasks.
    """

    queue: str
    state: TaskState
    to: MoveTarget
    group: str = ""
    """The group whose tasks are moved; only for aggregating tasks."""
    limit: int = MAX_BATCH
    max_size: int = MAX_ARCHIVED
    max_age: int = MAX_ARCHIVED_AGE

    def __post_init__(self) -> None:
        _check_target("to", self.to)
        if self.state in (TaskState.ACTIVE, self.to):
            raise ValueError(f"state must not be {self.state.value!r} for tasks to become {self.to}")
        if bool(self.group) is not (self.state is TaskState.AGGREGATING):
            raise ValueError("group must be given for aggregating tasks, and for no others")


class Deletion(Struct, frozen=True, kw_only=True):
    """Answer of DeleteQueue."""

    tasks: int
    """Number of tasks that this step deleted."""
    done: bool
    """True when nothing is left to delete. A step that deleted `limit` tasks may leave it to the next step to
    report this."""


class DeleteQueue(Op[Deletion], frozen=True, kw_only=True):
    """Delete a queue with everything in it, in steps of at most `limit` tasks. Repeat until `done`.

    QueueNotFoundError. QueueNotEmptyError when the queue holds tasks in any state and `force` is not set, or
    when a task is active. The order in which tasks are deleted is undefined; a set whose tasks were deleted
    is no longer held. No task is dequeued from the first step to the last. A task enqueued meanwhile is
    deleted with the rest, or survives in a queue that stays listed. Counters and the pause are deleted too. A
    lock that is only released when its time ends stays until then. Deleted tasks leave their sequences, and
    AdvanceSequences lets the next tasks run if the deletion is not continued.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    force: bool = False
    limit: int = MAX_BATCH


class CancelTask(Op[bool], frozen=True, kw_only=True):
    """Record that the run of an active task is to end and notify its worker. False if no such task was found.

    The record is part of the task: every extension of its lease and every later delivery carries it, even if
    the notification failed. The end of the run removes the record, with two exceptions: a task that is
    requeued or recovered to run again keeps it, and a task to be archived keeps it when its run fails by
    itself and is retried. `then`: the task is archived, or retried as after a failure. A Go peer that runs
    the task supports retry only.
    """

    task_id: str
    queue: str | None = None
    """None: the queue in which the task is active, whichever it is."""
    then: CancelAction = "archive"

    def __post_init__(self) -> None:
        _check_action("then", self.then)
