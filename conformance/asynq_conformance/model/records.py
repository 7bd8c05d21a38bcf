"""Data of the model: tasks, locks, counters, decided ticks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from attrs import Factory, define

from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Enqueued, Unique

TaskKey = tuple[str, str]
"""Queue and id."""
SetKey = tuple[str, str, str]
"""Queue, group and id of the set."""

NOT_STARTED = (TaskState.SCHEDULED, TaskState.PENDING)
FINISHED = (TaskState.ARCHIVED, TaskState.COMPLETED)


def whole_second(instant: int) -> int:
    """The instant rounded up to a whole second."""
    return -(-instant // 1000) * 1000


def due_second(instant: int) -> int:
    """The whole second from which a scheduled task is due. That of waiting tasks means the next one."""
    second = whole_second(instant)
    return second if second != WAITING else second + 1000


@define(kw_only=True, eq=False)
class ModelTask:
    """A task in any state."""

    message: TaskMessage
    made: int
    """Tasks are numbered in the order of creation."""
    enqueue_id: str
    answer: Enqueued
    """The answer to its Enqueue."""
    unique: Unique | None
    """The lock that it requested; None if it has no claim to a lock any more."""
    group: str
    """The group that it joins when it is due; "" after it was run manually."""
    state: TaskState
    due: int = 0
    """As in `StoredTask.due_at`; for an aggregating task, the instant at which it was added to its group."""
    since: int = 0
    token: str = ""
    """While active, the token of the lease; otherwise that of the settlement that caused its state, or ""."""
    losses: int = 0
    cancel: str = ""
    result: bytes | None = None
    set_id: str = ""
    """The aggregation set that holds the task."""
    parked: tuple[TaskState, int, int] | None = None
    """State, due and since of a parked task, as they were before."""
    transfer: str = ""
    """The one that has parked it."""
    joined: int = 0
    """Tasks of a sequence are numbered in the order in which they joined it."""

    @property
    def gives_way(self) -> bool:
        """Whether a task that replaces its duplicates deletes it."""
        return self.state in NOT_STARTED and not self.message.sequence

    @property
    def unfinished(self) -> bool:
        """Whether the task has a place in its sequence, if it is in one."""
        return self.state not in FINISHED and (self.parked is None or self.parked[0] not in FINISHED)

    @property
    def key(self) -> TaskKey:
        """Queue and id."""
        return self.message.queue, self.message.id

    @property
    def waits(self) -> bool:
        """Whether the task waits for its turn in its sequence."""
        return self.state is TaskState.SCHEDULED and self.due == WAITING and self.message.sequence != ""


@define
class Counters:
    """Counts of runs that ended and runs that failed."""

    processed: int = 0
    failed: int = 0


@define
class DecidedTick:
    """The latest decided tick of an entry."""

    tick: int
    enqueue_id: str
    enqueued: Enqueued | None
    """None if it was refused."""
    until: int


@define
class ModelLock:
    """A lock that was taken."""

    owner: TaskKey
    unique: Unique
    end: int
    """Instant at which its TTL ends."""
    step: int = 0
    """For a kept lock: the next step of its task, which the lock outlasts."""
    renewed: int = 0
    """For a kept lock: the latest instant to which an extension may have moved its end."""
    rivals: set[TaskKey] = Factory(set)
    """Other tasks that kept this lock and may hold it again, because its owner extended it too late."""


def day(instant: int) -> date:
    """The UTC date of an instant."""
    return datetime.fromtimestamp(instant / 1000, UTC).date()
