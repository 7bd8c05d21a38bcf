"""Choices that the contract leaves to a backend, as questions that the model asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from asynq_conformance.model.records import ModelTask, SetKey, TaskKey


class Choices:
    """The simplest choices. A comparison replaces them with those of the backend."""

    early = 0
    """Milliseconds by which a lock may end early, if another clock than the injected one ends it."""

    def tie(self, task: ModelTask) -> Any:
        """Orders tasks of one instant. The contract does not define which is first."""
        return task.made

    def lapse(self, queue: str, task_id: str, instant: int) -> int:
        """When a lease ends: at this millisecond or at the next."""
        del queue, task_id
        return instant

    def held(self, lock: str, waiting: Collection[TaskKey] = ()) -> bool:
        """Whether a lock is held where both are allowed, as for a kept lock that was extended too late.

        `waiting`: tasks that may hold it, and that a task which replaces its duplicates deletes.
        """
        del lock, waiting
        return True

    def owner(self, last: TaskKey, rivals: Collection[TaskKey], waiting: Collection[TaskKey] = ()) -> TaskKey:
        """Which of several tasks holds a kept lock after each extended it too late."""
        del rivals, waiting
        return last

    def reclaimed(self, key: SetKey) -> bool:
        """Whether a set is reclaimed whose hold expired within this second."""
        del key
        return True

    def finishes(self) -> bool:
        """Whether a full deletion step that deletes the last task completes the deletion."""
        return True
