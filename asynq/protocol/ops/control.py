"""Control and inspection: what operators ask of queues and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import frozen

from asynq.protocol.message import QueueStats, StoredTask
from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.task_state import TaskState


@frozen(kw_only=True)
class Ping(Op[int]):
    """Answer, if the broker can be reached: with the time of its clock, in Unix milliseconds."""

    read_only: ClassVar[bool] = True


@frozen(kw_only=True)
class PauseQueue(Op[bool]):
    """Let nobody dequeue from the queue; all else goes on. True if it was not paused before."""

    queue: str


@frozen(kw_only=True)
class UnpauseQueue(Op[bool]):
    """Let the queue be consumed again. True if it was paused."""

    queue: str


@frozen(kw_only=True)
class ListQueues(Op[tuple[str, ...]]):
    """Names of all queues that were ever enqueued to and not deleted, sorted."""

    read_only: ClassVar[bool] = True


@frozen(kw_only=True)
class GetQueueStats(Op[QueueStats]):
    """Numbers of one queue. QueueNotFoundError for a queue that is not listed."""

    read_only: ClassVar[bool] = True
    queue: str


@frozen(kw_only=True)
class GetTask(Op[StoredTask]):
    """One task as it is now. TaskNotFoundError when there is none of this id."""

    read_only: ClassVar[bool] = True
    queue: str
    task_id: str


@frozen(kw_only=True)
class ListTasks(Op[tuple[StoredTask, ...]]):
    """One page of the tasks of a queue in one state, next to run (or oldest) first; active ones in any order.

    Tasks of one instant come in an order of the backend's own, except pending ones. Tasks that cannot be
    decoded and ids without a task are left out. QueueNotFoundError as GetQueueStats.
    """

    read_only: ClassVar[bool] = True
    queue: str
    state: TaskState
    group: str = ""
    """The group to list: needed for aggregating tasks, for no others. Tasks held by an aggregator are in
    none."""
    offset: int = 0
    limit: int = 30
