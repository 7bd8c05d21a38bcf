"""Choices that the contract leaves open, answered as the backend under test decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.errors import DuplicateTaskError
from asynq.protocol.groups import AggregationSet
from asynq.protocol.message import Delivery, StoredTask
from asynq.protocol.ops import Deletion, Extended, LostLeases
from asynq.task_state import TaskState
from asynq_conformance.model.choices import Choices

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_conformance.model.records import ModelTask, SetKey, TaskKey
    from asynq_conformance.model.snapshot import Snapshot, TaskPlace


class ObservedChoices(Choices):
    """Reads the decisions from the answer to an operation and from the snapshot taken afterwards."""

    def __init__(self, after: Snapshot, early: int, members: Mapping[SetKey, Sequence[str]]) -> None:
        self.early = early
        self._members = members
        self._answer: Any = None
        self._named: dict[TaskKey, int] = {}
        self._places: dict[TaskKey, tuple[TaskPlace, int]] = {
            (queue, task.message.id): (place, rank)
            for (queue, place), tasks in after.tasks.items()
            for rank, task in enumerate(tasks)
        }

    def hear(self, answer: Any) -> None:
        """The broker's answer to the operation that the model executes next."""
        self._answer = answer
        named: Sequence[TaskMessage] = ()
        if isinstance(answer, AggregationSet):
            named = answer.messages
        elif isinstance(answer, LostLeases):
            named = [lost.message for lost in answer.leases]
        elif isinstance(answer, tuple) and answer and isinstance(answer[0], StoredTask):
            named = [stored.message for stored in answer]
        self._named = {(message.queue, message.id): rank for rank, message in enumerate(named)}

    def tie(self, task: ModelTask) -> Any:
        """Orders the moved tasks first, in their present order, followed by those that stay."""
        if task.key in self._named:
            return (0, self._named[task.key])
        if task.key not in self._places:
            return (0, len(self._named) + task.made)
        place, rank = self._places[task.key]
        return (2 if place == _place(task) else 1, rank)

    def lapse(self, queue: str, task_id: str, instant: int) -> int:
        """The end that the backend reported, if it is one of the two allowed ones."""
        answered = [
            delivery.expires_at
            for delivery in (self._answer if isinstance(self._answer, tuple) else ())
            if isinstance(delivery, Delivery)
            and (delivery.message.queue, delivery.message.id) == (queue, task_id)
        ]
        if isinstance(self._answer, Extended):
            answered = [self._answer.expires_at]
        return instant + 1 if answered == [instant + 1] else instant

    def held(self, lock: str, waiting: Collection[TaskKey] = ()) -> bool:
        """A lock is held if the enqueue was refused as a duplicate, or replaced one."""
        del lock
        return isinstance(self._answer, DuplicateTaskError) or not self._places.keys() >= set(waiting)

    def owner(self, last: TaskKey, rivals: Collection[TaskKey], waiting: Collection[TaskKey] = ()) -> TaskKey:
        """The holder is the task that the duplicate error names, or that was replaced."""
        if replaced := set(waiting) - self._places.keys():
            return min(replaced)
        answered = getattr(self._answer, "task_id", "")
        return next((key for key in sorted(rivals) if key[1] == answered), last)

    def reclaimed(self, key: SetKey) -> bool:
        """A set is reclaimed if its tasks are back in their group."""
        queue, group, _ = key
        place = (TaskState.AGGREGATING, group)
        held = self._members.get(key, ())
        return any(self._places.get((queue, task_id), ("", 0))[0] == place for task_id in held)

    def finishes(self) -> bool:
        """A deletion is complete if the answer says so."""
        return not isinstance(self._answer, Deletion) or self._answer.done


def _place(task: ModelTask) -> TaskPlace:
    if task.state is TaskState.AGGREGATING:
        return ("held", "") if task.set_id else (task.state, task.group)
    return task.state, ""
