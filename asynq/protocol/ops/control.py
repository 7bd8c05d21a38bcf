"""Operations for operators: ping, pause queues, and read queues, their statistics and their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from asynq.protocol.message import QueueStats, StoredTask
from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.task_state import TaskState


class Ping(Op[int], frozen=True, kw_only=True):
    """Check that the broker can be reached. Answers its clock's time in Unix milliseconds."""

    read_only: ClassVar[bool] = True


class PauseQueue(Op[bool], frozen=True, kw_only=True):
    """Stop deliveries from the queue; everything else goes on. True if the queue was not paused before."""

    queue: str


class UnpauseQueue(Op[bool], frozen=True, kw_only=True):
    """Resume deliveries from the queue. True if the queue was paused."""

    queue: str


class ListQueues(Op[tuple[str, ...]], frozen=True, kw_only=True):
    """Names of all queues that a task was ever enqueued to and that were not deleted, sorted."""

    read_only: ClassVar[bool] = True


class GetQueueStats(Op[QueueStats], frozen=True, kw_only=True):
    """Statistics of one queue. QueueNotFoundError for a queue that is not listed."""

    read_only: ClassVar[bool] = True
    queue: str


class GetTask(Op[StoredTask], frozen=True, kw_only=True):
    """One task in its current state. TaskNotFoundError when the queue has no task of this id."""

    read_only: ClassVar[bool] = True
    queue: str
    task_id: str


class ListTasks(Op[tuple[StoredTask, ...]], frozen=True, kw_only=True):
    """One page of a queue's tasks in one state: next to run (or oldest) first, active tasks in any order.

    Tasks with the same instant come in an order that the backend chooses, except pending ones. Tasks that
    cannot be decoded and ids without a task are left out. QueueNotFoundError as GetQueueStats.
    """

    read_only: ClassVar[bool] = True
    queue: str
    state: TaskState
    group: str = ""
    """The group to list: required for aggregating tasks, not allowed for others. A task held by an aggregator
    is in no group."""
    offset: int = 0
    limit: int = 30
