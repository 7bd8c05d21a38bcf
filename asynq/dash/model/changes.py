"""What can be done to tasks: one, those that are marked, or all of a state that a filter selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.errors import AsynqError
from asynq.inspector.inspector import AsyncInspector
from asynq.protocol.ops import ArchiveTask, CancelTask, DeleteTask, RunTask
from asynq.runtime.short_texts import plural
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.inspector.task_filter import TaskFilter
    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op

    Progress = Callable[[int], object]

STEP = 200
"""Marked tasks that one request changes."""


@frozen(kw_only=True)
class Verb:
    """Something that an operator does to tasks."""

    name: str
    states: frozenset[TaskState]
    """The states in which it can be done."""
    consequence: str
    """What it means for a task."""
    past: str
    op: Callable[..., Op[Any]]


RUN = Verb(
    name="run",
    states=frozenset(
        {
            TaskState.SCHEDULED,
            TaskState.RETRY,
            TaskState.ARCHIVED,
            TaskState.COMPLETED,
            TaskState.AGGREGATING,
        }
    ),
    consequence="Pending again, at the tail of the queue: a worker runs it as soon as one is free.",
    past="made pending",
    op=RunTask,
)
ARCHIVE = Verb(
    name="archive",
    states=frozenset(TaskState) - {TaskState.ACTIVE, TaskState.ARCHIVED},
    consequence="An archived task does not run until somebody runs it by hand.",
    past="archived",
    op=ArchiveTask,
)
DELETE = Verb(
    name="delete",
    states=frozenset(TaskState) - {TaskState.ACTIVE},
    consequence="Payload and result are gone for ever.",
    past="deleted",
    op=DeleteTask,
)
CANCEL = Verb(
    name="cancel",
    states=frozenset({TaskState.ACTIVE}),
    consequence="The worker ends the run. The task is then archived.",
    past="told to end",
    op=CancelTask,
)
VERBS = {verb.name: verb for verb in (RUN, ARCHIVE, DELETE, CANCEL)}


@frozen(kw_only=True)
class Target:
    """The tasks that are changed."""

    queue: str
    state: TaskState
    group: str | None = None
    ids: tuple[str, ...] | None = None
    """None: all of the state and group."""
    where: TaskFilter | None = None
    """Of all, those that it selects."""
    filtered_by: str = ""
    """The filter as its user wrote it."""

    def described(self, count: int) -> str:
        """In words: 3 archived tasks of queue 'low'."""
        which = "" if self.ids is None else "this "
        tasks = (
            f"{which}{self.state.value} task"
            if self.ids and count == 1
            else plural(count, f"{self.state.value} task")
        )
        group = f" in group {self.group!r}" if self.group is not None else ""
        where = f", all that match the filter {self.filtered_by!r}" if self.where is not None else ""
        return f"{tasks}{group} of queue {self.queue!r}{where}"


@frozen(kw_only=True)
class Changed:
    """What a change has done."""

    count: int
    left: int = 0
    """Tasks that were given by their ids and could not be changed."""
    why: AsynqError | None = None
    """The error of one of them."""


async def count(broker: Broker, target: Target, progress: Progress) -> int:
    """Count the tasks that a filter selects. Reads all tasks of the state; cancel it to stop."""
    found = 0
    tasks = AsyncInspector(broker).tasks(target.queue, target.state, target.group, where=target.where)
    async for _ in tasks:
        found += 1
        if found % STEP == 0:
            progress(found)
    return found


async def change(broker: Broker, verb: Verb, target: Target, progress: Progress) -> Changed:
    """Do it. Between two steps it can be cancelled; what was done stays done."""
    if target.ids is not None:
        return await _each(broker, verb, target.queue, target.ids, progress)
    inspector = AsyncInspector(broker)
    queue, state, group, where = target.queue, target.state, target.group, target.where
    if verb is CANCEL:
        return Changed(count=await inspector.cancel_all(queue, where=where, progress=progress))
    change_all = {
        "run": inspector.run_all,
        "archive": inspector.archive_all,
        "delete": inspector.delete_all,
    }[verb.name]
    return Changed(count=await change_all(queue, state, group, where=where, progress=progress))


async def _each(broker: Broker, verb: Verb, queue: str, ids: Sequence[str], progress: Progress) -> Changed:
    changed, left = 0, 0
    why: AsynqError | None = None
    for start in range(0, len(ids), STEP):
        step = [verb.op(queue=queue, task_id=task_id) for task_id in ids[start : start + STEP]]
        for answer in await broker.aexecute_many(step):
            if isinstance(answer, AsynqError):
                left, why = left + 1, answer
            elif answer is False:
                left += 1
            else:
                changed += 1
        progress(changed)
    return Changed(count=changed, left=left, why=why)
