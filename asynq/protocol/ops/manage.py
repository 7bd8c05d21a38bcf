"""Manage: what operators do to tasks and queues, whatever workers do meanwhile.

A task held by an aggregator is not in its group, but it is aggregating still: nothing here moves it, except
that its queue is deleted.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import field, frozen
from attrs.validators import in_

from asynq.protocol.ops.base import MAX_BATCH, Op
from asynq.task_state import TaskState

CancelAction = Literal["archive", "retry"]
MoveTarget = Literal["pending", "archived", "deleted"]


@frozen(kw_only=True)
class RunTask(Op[None]):
    """Make a scheduled, retried, archived, completed or aggregating task pending, at the tail of its queue.

    It then runs by itself, in no group, also when it is retried, though its message may still name the group;
    a cancellation recorded for it is forgotten.
    TaskNotFoundError; TaskStateError when it is active, pending or held by an aggregator.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str


@frozen(kw_only=True)
class ArchiveTask(Op[None]):
    """Move a pending, scheduled, retried, completed or aggregating task to the archive; nothing is counted.

    The archive keeps its bounds as in Archive. TaskNotFoundError; TaskStateError when the task is active,
    archived or held by an aggregator.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str
    max_size: int = 10_000
    max_age: int = 90 * 24 * 3600 * 1000


@frozen(kw_only=True)
class DeleteTask(Op[None]):
    """Delete a task with its result and the lock it owns.

    TaskNotFoundError; TaskStateError when it is active or held by an aggregator. Deletes also what cannot be
    decoded, and what is left of a task that has no message.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    task_id: str


@frozen(kw_only=True)
class UpdatePayload(Op[None]):
    """Give a scheduled, pending, retried, archived or aggregating task another payload.

    The lock it owns takes the name of the new payload in the same step: DuplicateTaskError when another task
    holds that. TaskNotFoundError, also for a task that cannot be decoded; TaskStateError when it is active,
    completed or held by an aggregator. Then nothing is changed.
    """

    queue: str
    task_id: str
    payload: bytes


@frozen(kw_only=True)
class MoveTasks(Op[int]):
    """Run, archive or delete tasks of one state, oldest first, at most `limit`; how many were moved.

    Each as RunTask, ArchiveTask, DeleteTask; ids whose task is gone are dropped and not counted. 0 means that
    none is left. QueueNotFoundError. A copy sent again moves others.
    """

    queue: str
    state: TaskState
    to: MoveTarget = field(validator=in_(("pending", "archived", "deleted")))
    group: str = ""
    """The group whose tasks are moved, for aggregating ones only."""
    limit: int = MAX_BATCH
    max_size: int = 10_000
    max_age: int = 90 * 24 * 3600 * 1000

    def __attrs_post_init__(self) -> None:
        if self.state in (TaskState.ACTIVE, self.to):
            raise ValueError(f"state must not be {self.state.value!r} for tasks to become {self.to}")
        if bool(self.group) is not (self.state is TaskState.AGGREGATING):
            raise ValueError("group must be given for aggregating tasks, and for no others")


@frozen(kw_only=True)
class Deletion:
    """Answer of DeleteQueue."""

    tasks: int
    """How many tasks this step deleted."""
    done: bool
    """True when nothing is left to delete. After `limit` tasks it may take another step to say so."""


@frozen(kw_only=True)
class DeleteQueue(Op[Deletion]):
    """Delete a queue with all that belongs to it, in steps of at most `limit` tasks: repeated until `done`.

    QueueNotFoundError; QueueNotEmptyError when it holds tasks in any state and `force` is not set, or when a
    task is active. Which tasks go first is open; a set whose tasks went is held no longer. Nobody dequeues
    from the first step to the last. A task enqueued meanwhile is deleted with the rest, or lives on in a
    queue that stays listed. Counters and the pause go too; a lock that only its time releases stays until
    then.
    """

    idempotent: ClassVar[bool] = False
    queue: str
    force: bool = False
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class CancelTask(Op[bool]):
    """Record that the run of an active task is to end, and tell whoever runs it; False if none was found.

    The record is part of the task: every extension of its lease and every later delivery shows it, also when
    telling failed. The end of the run removes it, unless the task is requeued or recovered to run again, and
    except that a task to be archived keeps it when its run
    fails by itself and is retried. `then`: archived, or retried as after a failure. A Go peer that runs the
    task knows one end only: it retries.
    """

    task_id: str
    queue: str | None = None
    """None: in whichever queue it is active."""
    then: CancelAction = field(default="archive", validator=in_(("archive", "retry")))
