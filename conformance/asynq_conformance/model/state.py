"""State of the model: tasks by queue and id, and everything else that it stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import Factory, define

from asynq.ids import random_id
from asynq.protocol.message import StoredTask
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.model.choices import Choices
from asynq_conformance.model.records import (
    Counters,
    DecidedTick,
    ModelLock,
    ModelTask,
    SetKey,
    TaskKey,
    day,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from asynq.protocol.message import TaskMessage
    from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo
    from asynq.protocol.schedules import StoredSchedule


@define
class System:
    """The state that operations change. Nothing else is stored anywhere."""

    tasks: dict[TaskKey, ModelTask] = Factory(dict)
    pending: dict[str, list[str]] = Factory(dict)
    """Ids by queue, the next to run first."""
    queues: dict[str, Counters] = Factory(dict)
    """The listed queues, with their counters."""
    days: dict[tuple[str, date], Counters] = Factory(dict)
    paused: set[str] = Factory(set)
    locks: dict[str, ModelLock] = Factory(dict)
    sets: dict[SetKey, int] = Factory(dict)
    """Expiry of the hold of each aggregation set."""
    slots: dict[str, dict[str, int]] = Factory(dict)
    claims: dict[str, tuple[str, int]] = Factory(dict)
    """Who may transfer tasks of each queue, and until when no other one takes this over."""
    identity: str = Factory(random_id)
    tokens: dict[str, list[int]] = Factory(dict)
    ticks: dict[tuple[str, str], DecidedTick] = Factory(dict)
    servers: dict[str, tuple[ServerInfo, int]] = Factory(dict)
    schedulers: dict[str, tuple[Sequence[SchedulerEntry], int]] = Factory(dict)
    schedules: dict[str, StoredSchedule] = Factory(dict)
    events: dict[str, tuple[list[EnqueueEvent], int]] = Factory(dict)
    made: int = 0
    joined: int = 0
    choices: Choices = Factory(Choices)

    # --- looking ------------------------------------------------------------------------------------

    def find(self, queue: str, task_id: str) -> ModelTask | None:
        """The task with this id."""
        return self.tasks.get((queue, task_id))

    def of_queue(self, queue: str) -> list[ModelTask]:
        """All tasks of a queue, in no particular order."""
        return [task for task in self.tasks.values() if task.message.queue == queue]

    def of_state(self, queue: str, *states: TaskState) -> list[ModelTask]:
        """Tasks of a queue in these states, in the order of the queue or by their instants."""
        tasks = [task for task in self.of_queue(queue) if task.state in states]
        if states == (TaskState.PENDING,):
            return sorted(tasks, key=lambda task: self.pending[queue].index(task.message.id))
        return self.in_order(tasks)

    def in_order(self, tasks: Sequence[ModelTask]) -> list[ModelTask]:
        """Earliest instant first."""
        if len(tasks) < 2:
            return [*tasks]
        return sorted(tasks, key=lambda task: (task.due, self.choices.tie(task)))

    def waiting(self, queue: str, group: str) -> list[ModelTask]:
        """The tasks that wait in a group, oldest first."""
        tasks = self.of_state(queue, TaskState.AGGREGATING)
        return [task for task in tasks if task.group == group and not task.set_id]

    def held(self, key: SetKey) -> list[ModelTask]:
        """The tasks of an aggregation set, oldest first."""
        queue, group, set_id = key
        tasks = self.of_state(queue, TaskState.AGGREGATING)
        return [task for task in tasks if (task.group, task.set_id) == (group, set_id)]

    def stored(self, task: ModelTask, now: int) -> StoredTask:
        """The task as an inspector sees it."""
        active = task.state is TaskState.ACTIVE
        return StoredTask(
            message=task.message,
            state=task.state,
            due_at=0 if task.state in (TaskState.PENDING, TaskState.AGGREGATING) else task.due,
            result=task.result,
            pending_since=task.since,
            orphaned=active and (task.due <= now or not task.token),
        )

    # --- moving -------------------------------------------------------------------------------------

    def put(self, task: ModelTask, state: TaskState, due: int = 0, *, token: str = "") -> None:
        """Move the task to this state. Its lease ends, or is replaced by this one."""
        if task.state is TaskState.PENDING:
            self.pending[task.message.queue].remove(task.message.id)
        task.state, task.due, task.since, task.token, task.set_id = state, due, 0, token, ""
        task.parked = None

    def put_pending(self, task: ModelTask, now: int, *, head: bool = False, token: str = "") -> None:
        """Make the task pending, at the tail or at the head of its queue."""
        self.put(task, TaskState.PENDING, token=token)
        task.since = now
        line = self.pending.setdefault(task.message.queue, [])
        line.insert(0 if head else len(line), task.message.id)

    def join(self, task: ModelTask, now: int) -> None:
        """Put the task at the tail of its sequence."""
        self.joined += 1
        task.joined = self.joined
        self.put(task, TaskState.SCHEDULED, WAITING)
        self.advance(task.message, now)

    def head(self, of: TaskMessage) -> ModelTask | None:
        """The first task that is left in the sequence of this one."""
        left = [
            task
            for task in self.of_queue(of.queue)
            if of.sequence and task.message.sequence == of.sequence and task.unfinished
        ]
        return min(left, key=lambda task: task.joined, default=None)

    def advance(self, of: TaskMessage, now: int) -> bool:
        """Make the first task that is left in the sequence of this one pending if it waits."""
        head = self.head(of)
        if head is None or not head.waits:
            return False
        self.put_pending(head, now)
        return True

    def delete(self, task: ModelTask) -> None:
        """Delete the task, and release the lock that it owns."""
        self.put(task, TaskState.COMPLETED)
        self.release(task)
        del self.tasks[task.key]

    def release(self, task: ModelTask, *modes: str) -> None:
        """Release the lock if the task owns it: a lock of these kinds, by default "done" and "start"."""
        lock = self.locks.get(task.message.unique_key)
        if lock is None or lock.unique.until not in (modes or ("done", "start")):
            return
        lock.rivals.discard(task.key)
        if lock.owner == task.key:
            if lock.rivals:
                lock.owner = lock.rivals.pop()
                lock.rivals.add(lock.owner)  # both are allowed
            else:
                del self.locks[task.message.unique_key]

    def trim(self, queue: str, max_size: int, max_age: int, limit: int, now: int) -> int:
        """Delete archived tasks that are too many or too old, oldest first. Returns their number."""
        archived = self.of_state(queue, TaskState.ARCHIVED)
        surplus = len(archived) - max_size
        doomed = [
            task
            for place, task in enumerate(archived[:limit])
            if place < surplus or task.due + max_age <= now
        ]
        for task in doomed:
            self.delete(task)
        return len(doomed)

    # --- counting -----------------------------------------------------------------------------------

    def list_queue(self, queue: str) -> None:
        """Add the queue to the list of queues."""
        self.queues.setdefault(queue, Counters())

    def count(self, queue: str, now: int, *, failed: bool) -> None:
        """Count the end of a run, and its failure."""
        self.list_queue(queue)
        for counters in (self.queues[queue], self.days.setdefault((queue, day(now)), Counters())):
            counters.processed += 1
            counters.failed += int(failed)
