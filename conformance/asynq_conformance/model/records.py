"""What the model stores: tasks, locks, counters, decided ticks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from attrs import Factory, define

from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Enqueued, Unique

TaskKey = tuple[str, str]
"""Queue and id."""
SetKey = tuple[str, str, str]
"""Queue, group and id of the set."""

FINISHED = (TaskState.ARCHIVED, TaskState.COMPLETED)


def whole_second(instant: int) -> int:
    """The instant rounded up to a whole second."""
    return -(-instant // 1000) * 1000


@define(kw_only=True, eq=False)
class ModelTask:
    """A task, wherever it is."""

    message: TaskMessage
    made: int
    """Tasks are numbered as they are made."""
    enqueue_id: str
    answer: Enqueued
    """What its Enqueue was answered."""
    unique: Unique | None
    """The lock it asked for; None when it has no claim to one, any longer."""
    group: str
    """The group it joins when it is due; "" once it was run by hand."""
    state: TaskState
    due: int = 0
    """As `StoredTask.due_at`; for an aggregating task the instant it was added to its group."""
    since: int = 0
    token: str = ""
    """Of the lease, while active; of the settlement that put the task where it is; else ""."""
    losses: int = 0
    cancel: str = ""
    result: bytes | None = None
    set_id: str = ""
    """The aggregation set that holds it."""

    @property
    def key(self) -> TaskKey:
        """Queue and id."""
        return self.message.queue, self.message.id


@define
class Counters:
    """Runs ended and runs failed."""

    processed: int = 0
    failed: int = 0


@define
class DecidedTick:
    """The latest tick of an entry that was decided."""

    tick: int
    enqueue_id: str
    enqueued: Enqueued | None
    """None: it was refused."""
    until: int


@define
class ModelLock:
    """A lock that was taken."""

    owner: TaskKey
    unique: Unique
    end: int
    """Instant at which its ttl ends."""
    step: int = 0
    """Kept: the next step of its task, which it outlasts."""
    renewed: int = 0
    """Kept: the latest instant to which a renewal may have moved its end."""
    rivals: set[TaskKey] = Factory(set)
    """Tasks that kept this lock too and may have it again, because its owner was late to renew it."""


def day(instant: int) -> date:
    """The UTC date of an instant."""
    return datetime.fromtimestamp(instant / 1000, UTC).date()
