"""Snapshot of what the protocol shows of some queues at one instant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.errors import AsynqError
from asynq.protocol.message import StoredTask
from asynq.protocol.ops import GetQueueStats, GetTask, ListGroups, ListQueues, ListTasks
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from asynq.protocol.groups import GroupInfo
    from asynq.protocol.message import QueueStats
    from asynq.protocol.ops import Op

_STATES = tuple(state for state in TaskState if state is not TaskState.AGGREGATING)

TaskPlace = tuple[str, str]
"""A state and "", or "aggregating" and the name of a group, or "held" and ""."""


@frozen(kw_only=True)
class Snapshot:
    """State of the compared queues. A queue that is not listed has no entries."""

    now: int
    listed: tuple[str, ...]
    """All queues, compared or not."""
    stats: Mapping[str, QueueStats]
    groups: Mapping[str, Mapping[str, GroupInfo]]
    tasks: Mapping[tuple[str, TaskPlace], tuple[StoredTask, ...]]
    """Tasks by queue and place, in the order of their list."""

    def of_state(self, queue: str, state: TaskState) -> Sequence[StoredTask]:
        """The tasks listed in a state other than aggregating."""
        return self.tasks.get((queue, (state, "")), ())

    def of_queue(self, queue: str) -> Iterator[tuple[TaskPlace, StoredTask]]:
        """All tasks of a queue with their places."""
        for (name, place), tasks in self.tasks.items():
            if name == queue:
                for task in tasks:
                    yield place, task

    def over(self, earlier: Snapshot, queues: Collection[str]) -> Snapshot:
        """This snapshot of some queues, completed by an earlier one of the others."""
        return Snapshot(
            now=self.now,
            listed=self.listed,
            stats={**_but(earlier.stats, queues), **self.stats},
            groups={**_but(earlier.groups, queues), **self.groups},
            tasks={
                **{key: tasks for key, tasks in earlier.tasks.items() if key[0] not in queues},
                **self.tasks,
            },
        )


def _but(seen: Mapping[str, Any], queues: Collection[str]) -> dict[str, Any]:
    return {queue: what for queue, what in seen.items() if queue not in queues}


def look(
    answer: Callable[[Sequence[Op[Any]]], Sequence[Any]],
    now: int,
    queues: Sequence[str],
    groups: Sequence[str],
    held: Sequence[tuple[str, str]] = (),
) -> Snapshot:
    """Take a snapshot of queues and groups of these names, and of held tasks that no list shows.

    `answer` executes a batch of operations and returns errors in the place of answers. It is called first for
    the statistics, then for the lists that are not empty according to them.
    """
    listed, *numbers = answer([ListQueues(), *(GetQueueStats(queue=queue) for queue in queues)])
    stats = {queue: one for queue, one in zip(queues, numbers, strict=True) if _is_some(one)}
    places: list[tuple[str, TaskPlace]] = [
        (queue, (state, "")) for queue, one in stats.items() for state in _STATES if getattr(one, state)
    ]
    grouped = [queue for queue, one in stats.items() if one.aggregating or one.groups]
    places += [(queue, (TaskState.AGGREGATING, group)) for queue in grouped for group in groups]
    asked: list[Op[Any]] = [
        # one more than there should be
        ListTasks(queue=queue, state=TaskState(state), group=group, limit=getattr(stats[queue], state) + 1)
        for queue, (state, group) in places
    ]
    asked += [GetTask(queue=queue, task_id=task_id) for queue, task_id in held]
    asked += [ListGroups(queue=queue) for queue in grouped]
    answers = answer(asked) if asked else []
    tasks: dict[tuple[str, TaskPlace], tuple[StoredTask, ...]] = {}
    for (queue, place), page in zip(places, answers, strict=False):
        if _is_some(page):
            # The order of active tasks is up to the backend.
            active = place[0] == TaskState.ACTIVE
            tasks[queue, place] = tuple(sorted(page, key=lambda task: task.message.id)) if active else page
    waiting = {(queue, task.message.id) for (queue, _), page in tasks.items() for task in page}
    found = answers[len(places) : len(places) + len(held)]
    for (queue, task_id), task in zip(held, found, strict=True):
        if _is_aggregating(task) and (queue, task_id) not in waiting:
            tasks[queue, ("held", "")] = (*tasks.get((queue, ("held", "")), ()), task)
    pages = answers[len(places) + len(held) :]
    return Snapshot(
        now=now,
        listed=listed,
        stats=stats,
        groups={
            queue: {group.name: group for group in page.groups}
            for queue, page in zip(grouped, pages, strict=True)
            if _is_some(page) and page.groups
        },
        tasks=tasks,
    )


def _is_some(answer: Any) -> bool:
    return answer != () and not isinstance(answer, AsynqError)


def _is_aggregating(answer: Any) -> bool:
    return isinstance(answer, StoredTask) and answer.state is TaskState.AGGREGATING
